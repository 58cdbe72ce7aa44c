"""A browser of plain requests for the Python clients: a cookie jar, redirects, and the pages of a sign-in.

The same rules as `browser.mjs`, less Fetch-Metadata details; standard library only.
"""

import http.client
from html.parser import HTMLParser
from urllib.parse import urlencode, urljoin, urlsplit

USER = "adele@contoso.example"
PAGES = 20
ANSWER_WITHIN_S = 60


class Page(HTMLParser):
    """What a person can act on: forms with fields and buttons, links, meta refresh."""

    def __init__(self, url, status, headers, text):
        super().__init__()
        self.url, self.status, self.headers, self.text = url, status, headers, text
        self.forms, self.links, self.refresh = [], [], None
        self._form = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = {name: value or "" for name, value in attributes}
        if tag == "a" and "href" in found:
            self.links.append(urljoin(self.url, found["href"]))
        elif tag == "meta" and found.get("http-equiv", "").lower() == "refresh":
            self.refresh = urljoin(self.url, found["content"].split("=", 1)[1].strip(" '\""))
        elif tag == "form":
            self._form = {"action": found.get("action", self.url), "fields": [], "buttons": []}
            self.forms.append(self._form)
        elif self._form is not None and tag == "button":
            self._form["buttons"].append((found.get("name", ""), found.get("value", "")))
        elif self._form is not None and tag == "input" and found.get("type") == "hidden":
            self._form["fields"].append((found["name"], found.get("value", "")))

    def handle_endtag(self, tag):
        if tag == "form":
            self._form = None

    def form_with(self, button):
        return next((form for form in self.forms if button in form["buttons"]), None)


class Browser:
    """One person at one machine."""

    def __init__(self):
        self._cookies = {}

    def sign_in(self, authorize_url, user=USER):
        """From a client's authorization URL to the page its redirect URI answers: allow, sign in as `user`."""
        page = self._load("GET", authorize_url)
        for _ in range(PAGES):
            for button in (("decision", "allow"), ("user", user)):
                if form := page.form_with(button):
                    page = self._post(page, form, button)
                    break
            else:
                if page.refresh is None:
                    return page
                if page.refresh not in page.links:
                    raise AssertionError(f"{page.url} goes on by itself but shows no link to {page.refresh}")
                page = self._load("GET", page.refresh)
        raise AssertionError(f"the sign-in did not end after {PAGES} pages; the last was {page.url}")

    def _post(self, page, form, button):
        opaque = page.headers.get("referrer-policy") == "no-referrer"
        origin = "null" if opaque else "{0.scheme}://{0.netloc}".format(urlsplit(page.url))
        headers = {"content-type": "application/x-www-form-urlencoded", "origin": origin, "sec-fetch-site": "same-origin"}
        return self._load("POST", urljoin(page.url, form["action"]), urlencode([*form["fields"], button]), headers)

    def _load(self, method, url, body=None, extra=None):
        for _ in range(PAGES):
            parts = urlsplit(url)
            headers = {"accept": "text/html", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document", **(extra or {})}
            if cookies := self._cookies.get(parts.hostname):
                headers["cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
            kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
            connection = kind(parts.hostname, parts.port, timeout=ANSWER_WITHIN_S)
            try:
                connection.request(method, f"{parts.path}?{parts.query}" if parts.query else parts.path, body, headers)
                response = connection.getresponse()
                text = response.read().decode()
            finally:
                connection.close()
            self._keep(parts.hostname, response.headers.get_all("set-cookie", []))
            location = response.headers.get("location")
            if not location or not 300 <= response.status < 400:
                return Page(url, response.status, response.headers, text)
            url = urljoin(url, location)
            if response.status < 307:
                method, body, extra = "GET", None, None
        raise AssertionError(f"more than {PAGES} redirects, the last to {url}")

    def _keep(self, host, lines):
        jar = self._cookies.setdefault(host, {})
        for line in lines:
            pair, *attributes = [part.strip() for part in line.split(";")]
            name, value = pair.split("=", 1)
            known = [attribute.lower() for attribute in attributes]
            if name.startswith("__Host-") and not ("secure" in known and "path=/" in known):
                raise AssertionError(f"{name}: __Host- wants Secure and Path=/")
            if "max-age=0" in known:
                jar.pop(name, None)
            else:
                jar[name] = value
