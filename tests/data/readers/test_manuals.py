"""Manual pages and Perl's documentation."""

import gzip
from pathlib import Path

from asnn_goose.data.readers.manuals import (
    pod_paragraphs,
    read_manual_pages,
    read_pod,
    troff_paragraphs,
)

PROSE = "This paragraph has quite enough words to be running text, they say."
PAGE = r"""
.\" a comment
.TH FORK 2 2023-02-05 "Linux man-pages"
.SH NAME
fork \- create a child process
.SH DESCRIPTION
.BR fork (2)
creates a new \fIprocess\fP \(em
called \[lq]the child\[rq],
.IR "as a duplicate" .
.PP
A second
.B paragraph
with a rule\&.
.nf
int x = fork();
.fi
.TP
.B EAGAIN
A limit was met.
.EX
code
.EE
"""


def test_troff_becomes_paragraphs() -> None:
    assert troff_paragraphs(PAGE) == [
        "fork - create a child process",
        "fork(2) creates a new process  - called \u201cthe child\u201d, as a duplicate.".replace(
            "  ", " "
        ),
        "A second paragraph with a rule.",
        "EAGAIN A limit was met.",
    ]


def test_pages_are_documents_and_links_are_none(tmp_path: Path) -> None:
    (tmp_path / "man2").mkdir()
    page = ".SH NAME\nfork\n" + "".join(f".PP\n{n} {PROSE}\n" for n in "abc")
    (tmp_path / "man2" / "fork.2.gz").write_bytes(gzip.compress(page.encode()))
    (tmp_path / "man2" / "vfork.2.gz").symlink_to("fork.2.gz")
    [found] = read_manual_pages(tmp_path)
    assert (found.id, found.group) == ("fork.2", "fork.2")
    assert found.text.split("\n\n") == ["fork", *(f"{n} {PROSE}" for n in "abc")]


POD = f"""package Foo; this code has quite enough words to be running text

=head1 NAME

=head2 The C<< use $x->y >> of F<files>

{PROSE} See L<the manual|perlfunc/open>, B<I<nested>>, S<and> E<lt>this>.

    code that is indented {PROSE}

=for comment {PROSE}

=cut

{PROSE} In the code.

=head1 END

{PROSE}
"""


def test_pod_gives_prose_below_its_headings() -> None:
    assert list(pod_paragraphs(POD)) == [
        "The use $x->y of files",
        f"{PROSE} See the manual, nested, and <this>.",
        "END",
        PROSE,
    ]


def test_pod_files_are_documents(tmp_path: Path) -> None:
    (tmp_path / "perlfoo.pod").write_text("=head1 A\n\n" + f"{PROSE}\n\n" * 4)
    (tmp_path / "perl5delta.pod").write_text("=head1 A\n\n" + f"{PROSE}\n\n" * 4)
    [found] = read_pod(tmp_path, pattern="**/*[!a].pod")
    assert (found.id, found.group) == ("perlfoo.pod", "perlfoo.pod")
    assert found.text.startswith(f"A\n\n{PROSE}")
