"Checks of the built site: pictures have alt text, links lead somewhere, nothing is fetched from elsewhere."
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup

FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src", "embed": "src", "object": "data"}
LOADING = {"stylesheet", "icon", "preload", "modulepreload", "prefetch", "manifest"}  # of a <link>


def fetched(tag):
    "The address that a browser loads for a tag, or None."
    if tag.name == "link":
        return tag.get("href") if LOADING & set(tag.get("rel", [])) else None
    return tag.get(FETCHED.get(tag.name, ""))


def problems(site):
    "What is wrong, one line each: page, then what."
    site, found = Path(site).resolve(), []
    pages = {p: BeautifulSoup(p.read_text(encoding="utf-8"), "html.parser") for p in sorted(site.rglob("*.html"))}
    anchors = {p: {t["id"] for t in soup.find_all(id=True)} | {t["name"] for t in soup.find_all("a", attrs={"name": True})} for p, soup in pages.items()}
    for page, soup in pages.items():
        where = page.relative_to(site).as_posix()
        for img in soup.find_all("img"):
            if not img.get("alt", "").strip() or img["alt"].startswith("No description has been provided"):
                found.append(f"{where}: no alt text: {img.get('src', '')[:80]}")
        for tag in soup.find_all(["a", "link", *FETCHED]):
            address = fetched(tag) if tag.name != "a" else tag.get("href")
            if not address or address.startswith("data:"):
                continue
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                if tag.name != "a":
                    found.append(f"{where}: fetched from elsewhere: {address}")
                elif parts.scheme not in ("http", "https", "mailto") or parts.scheme != "mailto" and "." not in parts.netloc:
                    found.append(f"{where}: not an address: {address}")
                continue
            goal = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if not goal.is_file():
                found.append(f"{where}: leads nowhere: {address}")
            elif parts.fragment and goal in anchors and unquote(parts.fragment) not in anchors[goal]:
                found.append(f"{where}: no such place: {address}")
    for css in site.rglob("*.css"):
        for address in re.findall(r"(?:url\(\s*|@import\s+)[\"']?((?:https?:)?//[^\"')\s]+)", css.read_text(encoding="utf-8")):
            found.append(f"{css.relative_to(site).as_posix()}: fetched from elsewhere: {address}")
    return found
