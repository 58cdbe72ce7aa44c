// `k6/crypto`.

import { createHash, randomBytes as random } from "node:crypto";

const ENCODINGS = { hex: "hex", base64: "base64", base64rawurl: "base64url" };

function sha256(input, encoding) {
  if (!(encoding in ENCODINGS)) throw new Error(`no encoding ${encoding}`);
  return createHash("sha256").update(input).digest(ENCODINGS[encoding]);
}

const randomBytes = (count) => new Uint8Array(random(count)).buffer;

export default { sha256, randomBytes };
