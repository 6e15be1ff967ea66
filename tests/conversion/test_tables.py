"""The tables: every property of every type is mapped or has its reason; every type and relation is
one of MISP's.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT
from helpers.stix_classes import CLASSES

from stixbridge.ledger import Reason
from stixbridge.mapping import TABLES, identity, location, malware
from stixbridge.mapping.tables import ByKind, Field, Table
from stixbridge.misp.clusters import GALAXIES
from stixbridge.misp.knowledge import build, load


def fields(table: Table) -> list[tuple[str, str | None, Field]]:
    found = []
    for path, target in table.fields.items():
        rows = target.fields.values() if isinstance(target, ByKind) else [target]
        found += [(path, table.template, one) for one in rows]
    for where, part in table.parts.items():
        found += [(f"{where}.{path}", part.template, one) for path, one in part.fields.items()]
    return found


EVERY = (*TABLES.values(), identity.SECTOR, location.AREA, malware.INSTANCE)


def test_every_type_of_the_specification_has_a_table() -> None:
    extensions = {
        "statement",
        "tlp",
        *(name for name in CLASSES if name.endswith(("-ext", "-type"))),
    }
    assert not set(CLASSES) - set(TABLES) - extensions


@pytest.mark.parametrize("table", EVERY, ids=lambda table: table.stix_type)
def test_every_property_of_the_specification_has_a_fate(table: Table) -> None:
    specified = CLASSES.get(table.stix_type)  # none for the types of a dialect
    missing = set(specified._properties if specified else ()) - set(table.fates)
    assert not missing
    for name, fate in table.fates.items():
        assert isinstance(fate, Reason) or fate, name


@pytest.mark.parametrize("table", EVERY, ids=lambda table: table.stix_type)
def test_every_field_is_one_that_misp_knows(table: Table) -> None:
    knowledge = load()
    for path, template, one in fields(table):
        if one.type is not None:
            assert one.type in knowledge.categories, path
            assert knowledge.categories[one.type] in knowledge.allowed[one.type], path
        if one.relation is not None:
            assert one.relation in knowledge.template(template or "").relations, path
    for composite in table.composites:
        assert composite.type in knowledge.categories


def test_a_table_with_a_composite_of_unknown_paths_fails_when_it_is_made() -> None:
    from stixbridge.mapping.tables import Composite, Role

    with pytest.raises(ValueError, match="unknown path"):
        Table(
            "x",
            Role.OBSERVABLE,
            fields={"a": Field("md5")},
            composites=(Composite("filename|md5", "b", "a"),),
        )


def test_the_cached_index_is_what_a_fresh_one_is() -> None:
    import orjson

    assert orjson.loads(orjson.dumps(build()))["templates"].keys() == load()._templates.keys()


@pytest.mark.parametrize(
    ("stix_type", "ids", "names", "tag"),
    [
        (
            "intrusion-set",
            ["G0007"],
            ["whatever"],
            'misp-galaxy:mitre-intrusion-set="APT28 - G0007"',
        ),
        ("intrusion-set", [], ["APT28"], 'misp-galaxy:mitre-intrusion-set="APT28 - G0007"'),
        ("threat-actor", [], ["APT28"], 'misp-galaxy:threat-actor="APT28"'),
        ("attack-pattern", ["T1566"], [""], 'misp-galaxy:mitre-attack-pattern="Phishing - T1566"'),
        ("malware", [], ["emotet"], 'misp-galaxy:mitre-malware="Emotet - S0367"'),
        ("tool", [], ["PsExec"], 'misp-galaxy:mitre-tool="PsExec - S0029"'),
        ("location", [], ["Europe"], 'misp-galaxy:region="150 - Europe"'),
        ("malware", [], ["no such thing at all"], None),
    ],
)
def test_known_clusters(stix_type: str, ids: list[str], names: list[str], tag: str | None) -> None:
    assert load().cluster_tag(stix_type, "", ids, names) == tag


def test_deprecated_galaxies_are_never_used() -> None:
    used = {galaxy for group in GALAXIES.values() for galaxy in group}
    assert not {
        name for name in used if name.startswith(("mitre-enterprise", "mitre-mobile", "mitre-pre"))
    }


def test_a_users_file_goes_before_the_galaxies(tmp_path) -> None:
    file = tmp_path / "galaxies.json"
    file.write_text('{"malware:Emotet": "misp-galaxy:malpedia=\\"Emotet\\""}')
    assert load(file).cluster_tag("malware", "", [], ["Emotet"]) == 'misp-galaxy:malpedia="Emotet"'


def test_the_reference_in_the_documentation_is_that_of_the_tables() -> None:
    from stixbridge.mapping.reference import render

    assert (ROOT / "docs" / "mapping.md").read_text(encoding="utf-8") == render(), "make reference"


THIRD_PARTY = """
from stixbridge.mapping.tables import Field, Role, Table

TABLE = Table("x-seal", Role.OBSERVABLE, fields={"name": Field("text")})
"""


@pytest.mark.parametrize(
    ("kind", "error"),
    [("x-seal", ""), ("mutex", "mutex has a table already"), ("", "must lead to a Table")],
)
def test_another_package_adds_a_type(kind: str, error: str, tmp_path: Path) -> None:
    code = THIRD_PARTY.replace("x-seal", kind) if kind else "TABLE = 5"
    (tmp_path / "seals.py").write_text(code)
    about = tmp_path / "seals-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: seals\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[stixbridge.types]\nseal = seals:TABLE\n")
    done = subprocess.run(
        [sys.executable, "-c", "from stixbridge.mapping import TABLES; print('x-seal' in TABLES)"],
        env=dict(os.environ, PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path])),
        capture_output=True,
        text=True,
        check=False,
    )
    assert error in done.stderr if error else done.stdout == "True\n"
