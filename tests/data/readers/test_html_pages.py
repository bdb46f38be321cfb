"""Prose of HTML pages."""

from pathlib import Path

from asnn_goose.data.readers.html_pages import page_blocks, page_prose, read_html

PROSE = "This paragraph has quite enough words to be running text, they say."
PAGE = f"""<!DOCTYPE html><html><head><title>Nobody reads this title of a page here</title>
<style>p {{ color: red }}</style></head><body>
<nav><p>{PROSE} But in a menu.</p></nav>
<h1>Manual<a class="headerlink" href="#x">¶</a></h1>
<h2>Empty section</h2>
<h2>Use</h2>
<p>{PROSE.replace("enough", "<b>eno</b>ugh<br/>")}
<p>Unclosed, {PROSE}
<pre>code in a block that is not prose at all, however long it may be</pre>
after the code, {PROSE}
<ul><li>Item: {PROSE}</li><li>short</li></ul>
<script>var text = "This script has quite enough words to be running text";</script>
<table><tr><td><a href="a">A menu of links that are many words long in all</a> top</td></tr></table>
<!-- This comment has quite enough words to be running text as well -->
<div>Tail of a division, {PROSE}</div>
</body></html>"""


def test_page_gives_headings_and_prose_only() -> None:
    assert list(page_prose(PAGE)) == [
        "Manual",
        "Use",
        PROSE,
        f"Unclosed, {PROSE}",
        f"after the code, {PROSE}",
        f"Item: {PROSE}",
        f"Tail of a division, {PROSE}",
    ]


def test_blocks_keep_what_inline_tags_part() -> None:
    blocks = page_blocks("<p>a<i>b<tt>c</tt></i>d <a href=x>e</a></p>rest")
    assert list(blocks) == [("p", "abcd e"), ("", "rest")]


def test_page_without_text_gives_nothing() -> None:
    assert list(page_prose("<!-- only a comment -->")) == []
    assert list(page_prose(" ")) == []


def test_xhtml_with_a_declared_encoding_is_read() -> None:
    page = f'<?xml version="1.0" encoding="ISO-8859-1"?><html><body><p>é {PROSE}</p></body></html>'
    assert list(page_prose(page)) == [f"é {PROSE}"]


def test_pages_are_documents_and_groups(tmp_path: Path) -> None:
    body = "".join(f"<p>{n}. {PROSE}</p>" for n in "abcd")
    for name in ("a.html", "sub/b.html", "index/c.html"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(body)
    found = list(read_html(tmp_path, pattern="**/*.html", skip="^index/"))
    assert [(d.id, d.group) for d in found] == [("a.html", "a.html"), ("sub/b.html",) * 2]
    assert found[0].text.count(PROSE) == 4


def test_fewer_words_can_be_prose(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<p>Click on the last button.</p>" * 20)
    assert list(read_html(tmp_path, pattern="*.html")) == []
    assert len(list(read_html(tmp_path, pattern="*.html", words=5))) == 1
