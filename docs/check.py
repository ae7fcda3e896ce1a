"Checks of the built site: pictures have alt text, links lead somewhere, nothing is fetched from elsewhere."
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src", "embed": "src", "object": "data"}
LOADING = {"stylesheet", "icon", "preload", "modulepreload", "prefetch", "manifest"}  # of a <link>


class Page(HTMLParser):
    "The tags of a page with their attributes, and its anchors."

    def __init__(self, path):
        super().__init__()
        self.tags, self.anchors = [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = {k: v or "" for k, v in attrs}
        self.anchors |= {attrs[k] for k in ("id", "name") if k in attrs}
        if tag in ("a", "link", *FETCHED):
            self.tags.append((tag, attrs))

    handle_startendtag = handle_starttag


def fetched(tag, attrs):
    "The address that a browser loads for a tag, or None."
    if tag == "link":
        return attrs.get("href") if LOADING & set(attrs.get("rel", "").split()) else None
    return attrs.get(FETCHED.get(tag, ""))


def faults(path, where, pages):
    "What is wrong with the page at a path; `pages` are all pages by path."
    for tag, attrs in pages[str(path)].tags:
        if tag == "img" and (not attrs.get("alt", "").strip() or attrs["alt"].startswith("No description has been provided")):
            yield f"{where}: no alt text: {attrs.get('src', '')[:80]}"
        address = attrs.get("href") if tag == "a" else fetched(tag, attrs)
        if not address or address.startswith("data:"):
            continue
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            if tag != "a":
                yield f"{where}: fetched from elsewhere: {address}"
            elif parts.scheme not in ("http", "https", "mailto") or parts.scheme != "mailto" and "." not in parts.netloc:
                yield f"{where}: not an address: {address}"
            continue
        goal = os.path.normpath(path.parent / unquote(parts.path)) if parts.path else str(path)
        if not os.path.isfile(goal):
            yield f"{where}: leads nowhere: {address}"
        elif parts.fragment and goal in pages and unquote(parts.fragment) not in pages[goal].anchors:
            yield f"{where}: no such place: {address}"


def problems(site):
    "What is wrong, one line each: page, then what."
    site = Path(site).resolve()
    pages = {str(p): Page(p) for p in sorted(site.rglob("*.html"))}
    found = [f for p in map(Path, pages) for f in faults(p, p.relative_to(site).as_posix(), pages)]
    for css in site.rglob("*.css"):
        for address in re.findall(r"(?:url\(\s*|@import\s+)[\"']?((?:https?:)?//[^\"')\s]+)", css.read_text(encoding="utf-8")):
            found.append(f"{css.relative_to(site).as_posix()}: fetched from elsewhere: {address}")
    return found
