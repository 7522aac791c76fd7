"""upperd(8) agrees with the program, and all pages of the manual agree with each other."""

import ast
import re
from pathlib import Path

import pytest
from sources import ROOT, exit_statuses

from upperd.server import dispatcher, limits, patrol
from upperd.service import daemon, datagram, kinds, options
from upperd.service.flags import FLAGS

MANUAL = (ROOT / "man/upperd.8").read_text()
PAGES = sorted((ROOT / "man").iterdir())
SECTIONS = dict(re.findall(r"^\.S[sh] (.*)\n((?:.*\n)*?)(?=\.S[sh] |\Z)", MANUAL, re.MULTILINE))
OPTIONS = {option.flag: option.kind.metavar for option in FLAGS.values()}
"""The argument of each option, by the option's name."""


# All pages


def test_every_page_is_installed() -> None:
    """`make install` installs every page."""
    [names] = re.findall(r'^PAGES="(.*)"$', (ROOT / "systemd/install.sh").read_text(), re.MULTILINE)
    assert sorted(names.split()) == [path.name for path in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_references_lead_somewhere(page: Path) -> None:
    """References within our pages lead somewhere; upperd(8) refers to all pages, and all refer to it."""
    text = page.read_text()
    sections = re.findall(r"^\.S[sh] (.*)$", text, re.MULTILINE)
    assert [name for name in re.findall(r"^\.Sx (.*?)(?: [.,);]+)*$", text, re.MULTILINE) if name not in sections] == []
    named = set(re.findall(r"^\.Xr (upper\S+) (\d)", text, re.MULTILINE))
    others = {tuple(other.name.rsplit(".", 1)) for other in PAGES if other != page}
    assert named <= others | {tuple(page.name.rsplit(".", 1))}
    see_also = text.split(".Sh SEE ALSO\n")[1].split(".Sh ")[0]
    wanted = others if page.name == "upperd.8" else {("upperd", "8")}
    assert wanted <= set(re.findall(r"^\.Xr (upper\S+) (\d)", see_also, re.MULTILINE))
    for section, name, number in re.findall(r"([A-Z]{4,}(?: [A-Z]{4,})?) in\n\.Xr (upper\S+) (\d)", text):
        assert f"\n.Sh {section}\n" in (ROOT / f"man/{name}.{number}").read_text()


# upperd(8)


def _shown(name: str) -> str:
    return f"Fl -{name}" + (f" Ar {OPTIONS[name]}" if OPTIONS[name] else "")


def test_options_are_listed_with_their_defaults() -> None:
    """Every option of the file is listed once, in order, with its argument and its default."""
    rows = re.findall(r"^\.It (Fl .*?)( Ns \+)? Ta (.*)$", SECTIONS["Options"], re.MULTILINE)
    expected = []
    for option in sorted(options.OPTIONS, key=lambda option: option.flag):
        default = option.shown or ("off" if option.kind is kinds.SWITCH else "none")
        shown = "see FILES" if option.flag == "socket" else default
        expected.append((_shown(option.flag), " Ns +" if option.kind.is_list else "", shown))
    assert rows == expected


def test_other_options_are_described() -> None:
    """Every other option has an entry with a description, and the page names only existing options."""
    entries = re.findall(r"^\.It (Fl [^T\n]*)\n[A-Z].*", SECTIONS["Options"], re.MULTILINE)
    own = OPTIONS.keys() - {option.flag for option in options.OPTIONS}
    assert entries == ["Fl h , -help" if name == "help" else _shown(name) for name in sorted(own)]
    assert set(re.findall(r"Fl -([a-z-]+)", MANUAL)) <= OPTIONS.keys()


def test_length() -> None:
    """An operator can read the page: it has at most 4,500 words, not counting macros."""
    words = [word for word in MANUAL.split() if not re.fullmatch(r"\.?[A-Z][a-z]|\W+", word)]
    assert len(words) <= 4500


def _signals(*modules: str) -> set[str]:
    """The signals named in the code of these modules."""
    found = set()
    for name in modules:
        nodes = ast.walk(ast.parse((ROOT / f"upperd/{name}.py").read_text()))
        found |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return {name for name in found if re.fullmatch("SIG[A-Z0-9]+", name)}


def test_signals_are_documented() -> None:
    """The manual documents every signal that the parent or a child handles, and no other."""
    named = set(re.findall(r"\b(SIG[A-Z0-9]+)\b", SECTIONS["Signals"]))
    # The kernel sends that one, when a child has ended.
    assert named == _signals("server/signals", "server/hearing", "service/daemon") - {"SIGCHLD"}


def test_environment_is_documented() -> None:
    """The manual documents every variable that the program reads or sets, and no other."""
    read = set()
    for name in ("service/cli", "service/manager", "service/notify", "base/paths"):
        nodes = ast.walk(ast.parse((ROOT / f"upperd/{name}.py").read_text()))
        texts = {str(node.value) for node in nodes if isinstance(node, ast.Constant)}
        read |= {text for text in texts if re.fullmatch("[A-Z]+_[A-Z_]+|PYTHON[A-Z]+", text)}
    lines = re.findall(r"^\.(?:It )?Ev (.*)$", SECTIONS["ENVIRONMENT"], re.MULTILINE)
    documented = {name for name in re.findall(r"\w+", " ".join(lines)) if not name.endswith("_")}
    # That one is removed with the others, but never read.
    assert documented == read - {"LISTEN_PIDFDID"}


def test_exit_statuses_are_documented() -> None:
    """The manual documents every exit status of the daemon, and no other."""
    statuses = {int(number) for number in re.findall(r"^\.It (\d+)$", SECTIONS["EXIT STATUS"], re.MULTILINE)}
    names = ("cli", "daemon", "daemonize", "host", "lean", "listeners", "options", "single")
    of_service = [f"service/{name}" for name in names]
    assert statuses == exit_statuses(*of_service, "server/child", "base/streams")


COUNTED = {2: "two", 3: "three", 4: "a quarter", 5: "five"}
"""Numbers as the page spells them; 4 as a fraction."""


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ("Connections and children", f"and at most {COUNTED[dispatcher.SHARE]} of the queue"),
        ("Connections and children", f"and {limits._RESERVE} are kept for all else."),
        ("Connections and children", f"After {COUNTED[dispatcher.MOST_TRIES]} such children that had received it"),
        ("Connections and children", f"they have waited for their user for {patrol.IDLE_SECONDS:g} seconds"),
        ("Connections and children", f"nothing for {limits.FIRST_PAUSE} seconds, doubled each time"),
        ("Connections and children", f"up to {limits.LONGEST_PAUSE:g} seconds."),
        ("Datagrams", f"taken whole, up to {datagram.LARGEST} bytes"),
        ("Signals", f"{COUNTED[int(patrol.CUT_SECONDS)].capitalize()} seconds later every child that is left gets"),
    ],
)
def test_numbers_are_the_programs(section: str, sentence: str) -> None:
    """The numbers of the page are the program's."""
    assert sentence in " ".join(SECTIONS[section].split())


def test_seconds_that_are_one_are_the_programs() -> None:
    """The page's "one second" is that of the program: a child that does not begin, quiet, newcomers' queue."""
    assert patrol.START_SECONDS == patrol.QUIET_SECONDS == daemon.NEWCOMERS_SECONDS == 1
    assert "A child that has not begun within a second is stopped" in " ".join(
        SECTIONS["Connections and children"].split()
    )
    assert "came in or went out for one second is ended" in " ".join(SECTIONS["Signals"].split())
    assert patrol.LOOK_SECONDS == 0.5
    assert "Limits of time are looked at twice a second" in MANUAL
