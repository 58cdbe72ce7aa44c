// `k6/encoding`.

function b64encode(input, encoding = "std") {
  const bytes = typeof input === "string" ? Buffer.from(input) : Buffer.from(input);
  if (encoding === "rawurl") return bytes.toString("base64url");
  if (encoding === "std") return bytes.toString("base64");
  throw new Error(`no encoding ${encoding}`);
}

export default { b64encode };
