"""A Sphinx extension of the book's own: links from names to the interface, what a shared link shows, small repairs.

_config.yml names it among the extensions; build.py puts this folder on the path of the build. After Sphinx's
"Developing extensions" (events doctree-resolved and html-page-context). No axes.

- `interp.core.masks.find_masks`, `masks.find_masks()` or `find_masks` in a page's text becomes a link to the interface.
- Every page gets a description, from its first paragraph, and the Open Graph and Twitter tags for a preview.
- What the theme's HTML says wrongly to a screen reader is mended.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

from docutils import nodes
from sphinx.util.nodes import make_refnode

NAME = re.compile(r"([A-Za-z_][\w.]*)(\(.*\))?")
PICTURE = "_static/preview.png"  # 1200 x 630, drawn by picture.py
PICTURE_SHOWS = "Three moving panels for I3D and for the C-LSTM: a clip, a heat map, the clip frozen; below, the mask."
NETWORKS = "_static/networks/networks.json"
LONGEST = 200  # characters of a description; more is cut off where a link is shown


def targets(domain) -> dict[str, tuple[str, str]]:
    """Every name by which a text may mean a function, class or module: its page and place there.

    The full name; from two parts on, its end (masks.find_masks, Explanation.to_dict); alone, only a name that
    no everyday word is (find_masks, Explanation) and that means one thing in the whole package.
    """
    found: dict[str, set] = {}
    for full, place in domain.objects.items():
        parts = full.split(".")
        ends = [full] if place.objtype == "module" else [".".join(parts[k:]) for k in range(len(parts))]
        for name in ends:
            if "." in name or "_" in name or name != name.lower():
                found.setdefault(name, set()).add((place.docname, place.node_id))
    known = {name: places.pop() for name, places in found.items() if len(places) == 1}
    for name in domain.modules:  # a module's own place, not that of a function of its name
        module = domain.modules[name]
        known[name] = (module.docname, module.node_id)
    return known


def shortcuts() -> dict[str, str]:
    """What `interp` itself gives: 'interp.find_masks' is 'interp.core.masks.find_masks'."""
    import interp

    return {f"interp.{name}": f"interp.{home}.{name}" for name, home in interp._HOMES.items()}


def link_names(app, doctree, docname: str) -> None:
    if app.builder.format != "html":
        return
    domain = app.env.get_domain("py")
    if not hasattr(app, "interp_targets"):
        app.interp_targets = targets(domain)
        for short, full in shortcuts().items():
            if full in domain.objects:
                app.interp_targets[short] = (domain.objects[full].docname, domain.objects[full].node_id)
    for literal in list(doctree.findall(nodes.literal)):
        match = NAME.fullmatch(literal.astext())
        place = app.interp_targets.get(match[1]) if match else None
        above = literal.parent
        while above is not None and not isinstance(above, nodes.reference | nodes.title):
            above = above.parent
        if place is None or above is not None:
            continue
        link = make_refnode(app.builder, docname, *place, literal.deepcopy())
        link["classes"].append("interp-name")
        literal.replace_self(link)


def describe(doctree, otherwise: str) -> str:
    """The beginning of a page's first paragraph, whole sentences where they fit."""
    if doctree is None:
        return otherwise
    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        if len(text) < 40:
            continue
        if len(text) <= LONGEST:
            return text
        whole = re.match(rf".{{40,{LONGEST}}}[.?!](?= )", text)
        return whole[0] if whole else text[:LONGEST].rsplit(" ", 1)[0].rstrip(",;:") + " …"
    return otherwise


def preview(app, pagename: str, templatename: str, context: dict, doctree) -> None:
    base = app.config.html_baseurl.rstrip("/") + "/"
    title = nodes.Text(re.sub(r"<[^>]*>", "", context.get("title") or "")).astext()
    words = escape(describe(doctree, context.get("docstitle") or ""))
    tags = [f'<meta name="description" content="{words}">']
    said = {
        "og:type": "article", "og:site_name": app.config.html_title, "og:title": title, "og:description": words,
        "og:url": f"{base}{pagename}.html", "og:image": base + PICTURE, "og:image:width": "1200",
        "og:image:height": "630", "og:image:alt": PICTURE_SHOWS,
    }  # fmt: skip
    tags += [f'<meta property="{name}" content="{value}">' for name, value in said.items()]
    tags.append('<meta name="twitter:card" content="summary_large_image">')
    context["metatags"] = context.get("metatags", "") + "\n".join(tags) + "\n"


def repair(app, pagename: str, templatename: str, context: dict, doctree) -> None:
    """docutils calls a bibliography a list, and its entries no items of one; Sphinx writes a long signature as a
    list of definitions without a term."""
    if "body" not in context:
        return
    body = context["body"].replace('<div role="list" class="citation-list">', '<div class="citation-list">')
    lines = (("<dl>", '<span class="sig-lines">'), ("</dl>", "</span>"), ("<dd>", "<span>"), ("</dd>", "</span>"))

    def flat(match):
        text = match[0]
        for old, new in lines:
            text = text.replace(old, new)
        return text

    context["body"] = re.sub(r'<dt class="sig .*?</dt>', flat, body, flags=re.S)


def mend_files(app, error) -> None:
    """Name the arrow that unfolds a chapter's pages; take MathJax, 2 MB, off the pages without a formula; tell
    explorers where build.py laid the networks."""
    arrow = '<summary><span class="toctree-toggle"'
    named = arrow.replace("<summary>", '<summary aria-label="The pages below">')
    mathjax = re.compile(r"[ ]*<script>window\.MathJax.*?</script>\n|[ ]*<script[^>]*mathjax/[^>]*></script>\n")
    for path in Path(app.outdir).rglob("*.html") if error is None else ():
        text = path.read_text(encoding="utf-8")
        mended = text.replace(arrow, named)
        if 'class="math' not in text:
            mended = mathjax.sub("", mended)
        if "interp-explorer" in text and (Path(app.outdir) / NETWORKS).exists():
            up = "../" * (len(path.relative_to(app.outdir).parts) - 1)
            mended = mended.replace("</head>", f'<link rel="interp-networks" href="{up}{NETWORKS}">\n</head>', 1)
        if mended != text:
            path.write_text(mended, encoding="utf-8")


def setup(app) -> dict:
    app.connect("doctree-resolved", link_names, priority=900)
    app.connect("html-page-context", preview)
    app.connect("html-page-context", repair)
    app.connect("build-finished", mend_files)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
