// Reads of a page what a person can act on: forms with their buttons, links, meta refresh. Enough for well-formed pages.

const TAG = /<(\/?)([a-zA-Z][a-zA-Z0-9]*)((?:"[^"]*"|'[^']*'|[^'">])*)>/g;
const ATTRIBUTE = /([^\s=/]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+)))?/g;
const NAMED = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

/**
 * @param {URL} url where it was loaded from
 * @param {{status: number, headers: object, text: string}} answer
 */
export function parsePage(url, { status, headers, text }) {
  const page = { url, status, headers, text, forms: [], links: [], refresh: null, formWith };
  if (!/^text\/html\b/.test(headers["content-type"] ?? "")) return page;
  let form = null;
  for (const [, closing, tag, rest] of text.matchAll(TAG)) {
    const name = tag.toLowerCase();
    if (closing) {
      if (name === "form") form = null;
      continue;
    }
    const attributes = attributesOf(rest);
    if (name === "a" && attributes.href) page.links.push(attributes.href);
    if (name === "meta" && attributes["http-equiv"]?.toLowerCase() === "refresh") page.refresh = target(attributes.content);
    if (name === "form") page.forms.push((form = newForm(attributes)));
    if (form && name === "input") form.input(attributes);
    if (form && name === "button") form.buttons.push({ name: attributes.name ?? "", value: attributes.value ?? "" });
  }
  return page;
}

/** The form of this page that has the button, and the button; null without one. */
function formWith(name, value) {
  for (const form of this.forms) {
    const button = form.buttons.find((candidate) => candidate.name === name && candidate.value === value);
    if (button) return { form, button };
  }
  return null;
}

function newForm({ action = "", method = "get" }) {
  const boxes = new Map();
  return {
    action,
    method: method.toLowerCase(),
    fields: [],
    buttons: [],
    input({ type = "text", name = "", value = "", checked }) {
      const kind = type.toLowerCase();
      if (kind === "submit") this.buttons.push({ name, value });
      else if (kind === "checkbox") {
        boxes.set(name, value || "on");
        if (checked !== undefined) this.tick(name);
      } else if (name) this.fields.push([name, value]);
    },
    tick(name) {
      if (!boxes.has(name)) throw new Error(`the form has no box ${name}`);
      this.fields.push([name, boxes.get(name)]);
    },
  };
}

function attributesOf(text) {
  const attributes = {};
  for (const [, name, double, single, bare] of text.matchAll(ATTRIBUTE))
    attributes[name.toLowerCase()] = decode(double ?? single ?? bare ?? "");
  return attributes;
}

/** `5; url=/next` -> `/next`. */
function target(content = "") {
  const found = /^\s*\d+\s*[;,]\s*(?:url\s*=\s*)?['"]?(.*?)['"]?\s*$/i.exec(content);
  return found ? found[1] : null;
}

function decode(text) {
  return text.replace(/&(?:#x([0-9a-f]+)|#([0-9]+)|([a-z]+));/gi, (whole, hex, decimal, name) => {
    if (hex) return String.fromCodePoint(parseInt(hex, 16));
    if (decimal) return String.fromCodePoint(Number(decimal));
    return NAMED[name.toLowerCase()] ?? whole;
  });
}
