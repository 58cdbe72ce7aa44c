// Reads of a page what a person can act on. The pages are the edge's and the stand-in's: well-formed, every value quoted.

/** @typedef {{ action: string, fields: Record<string, string> }} Form */

/** The form that has this button. @param {string} html @param {string} name @param {string} value @returns {Form | null} */
export function formWith(html, name, value) {
  for (const [form] of html.matchAll(/<form\b[\s\S]*?<\/form>/g)) {
    const tags = [...form.matchAll(/<(form|input|button)\b[^>]*>/g)].map(([tag, kind]) => ({ tag, kind }));
    const pressed = tags.some(({ tag, kind }) => kind === "button" && attribute(tag, "name") === name && attribute(tag, "value") === value);
    if (!pressed) continue;
    /** @type {Record<string, string>} */
    const fields = { [name]: value };
    for (const { tag, kind } of tags)
      if (kind === "input" && attribute(tag, "type") === "hidden") fields[attribute(tag, "name")] = attribute(tag, "value");
    return { action: attribute(form, "action"), fields };
  }
  return null;
}

/** Where the page goes on to by itself. @param {string} html */
export function refresh(html) {
  const tag = /<meta http-equiv="refresh"[^>]*>/.exec(html);
  const target = tag && /url=(.*)$/.exec(attribute(tag[0], "content"));
  return target ? target[1] : null;
}

/** @param {string} tag @param {string} name */
function attribute(tag, name) {
  const found = new RegExp(`\\s${name}="([^"]*)"`).exec(tag);
  return found ? decode(found[1]) : "";
}

/** @param {string} text */
function decode(text) {
  return text
    .replace(/&#x([0-9a-f]+);/gi, (_, hex) => String.fromCodePoint(parseInt(hex, 16)))
    .replace(/&#([0-9]+);/g, (_, decimal) => String.fromCodePoint(Number(decimal)))
    .replace(/&quot;/g, '"')
    .replace(/&lt;/g, "<")
    .replace(/&gt;/g, ">")
    .replace(/&amp;/g, "&");
}
