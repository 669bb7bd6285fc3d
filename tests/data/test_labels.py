"""Classes and regions as values."""

import json
from typing import Any

import numpy as np
import pytest

from kitsseg.data.labels import KITS19, Labels

KITS23: dict[str, Any] = {
    "classes": ["background", "kidney", "tumour", "cyst"],
    "regions": {
        "kidney_and_masses": ["kidney", "tumour", "cyst"],
        "masses": ["tumour", "cyst"],
        "tumour": ["tumour"],
    },
    "target": "tumour",
}


def test_regions_are_unions_of_classes() -> None:
    labels = Labels(**KITS23)
    label = np.array([[0, 1], [2, 3]], np.uint8)
    assert labels.ids("masses") == (2, 3)
    assert labels.mask(label, "masses").tolist() == [[False, False], [True, True]]
    assert labels.mask(label, "kidney_and_masses").tolist() == [[False, True], [True, True]]
    assert labels.table_regions == ("kidney_and_masses", "masses", "tumour")


def test_stored_values_may_have_gaps_and_share_a_class() -> None:
    labels = Labels(
        ["background", "organ"], {"organ": ["organ"]}, "organ",
        values={0: "background", 1: "organ", 4: "organ"},
    )  # fmt: skip
    assert labels.stored == {0: 0, 1: 1, 4: 1}


def test_the_regions_of_kits19_are_those_of_the_official_script() -> None:
    assert KITS19.ids("kidney") == (1, 2) and KITS19.ids("tumour") == (2,)
    assert KITS19.stored == {0: 0, 1: 1, 2: 2} and KITS19.table_regions == ("kidney", "tumour")


@pytest.mark.parametrize("labels", [KITS19, Labels(**KITS23)])
def test_labels_survive_json(labels: Labels) -> None:
    again = Labels(**json.loads(json.dumps(labels.as_dict())))
    assert again.as_dict() == labels.as_dict()
    assert [again.ids(r) for r in again.regions] == [labels.ids(r) for r in labels.regions]
    assert [again.colour(i) for i in (1, 2)] == ["#56b4e9", "#e69f00"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"classes": ["background"]}, "must be 2 to 64 different names"),
        ({"classes": ["background", "a", "a"]}, "must be 2 to 64 different names"),
        ({"classes": ["background", "the kidney"]}, "the kidney: names of classes and regions start"),
        ({"regions": {}}, "at least one region"),
        ({"regions": {"tumour": []}}, "regions.tumour=.*: must contain at least one class"),
        (
            {"regions": {"tumour": ["tumor"]}},
            "regions.tumour: tumor must be one of kidney, tumour, cyst",
        ),
        ({"regions": {"tumour": ["background"]}}, "regions.tumour: background must be one of"),
        ({"target": "lesion"}, "target: lesion must be one of kidney_and_masses, masses, tumour"),
        ({"table": ["kidney"]}, "table: kidney must be one of"),
        ({"values": {0: "background", 1: "kidney"}}, "must name every class"),
        (
            {"values": {-1: "background", 1: "kidney", 2: "tumour", 3: "cyst"}},
            "values=.*: must be between 0 and 65535",
        ),
        ({"values": {0: "air"}}, "values: air must be one of background, kidney"),
        ({"colours": {"cyst": "red"}}, "colours.cyst=red: must be written like #56b4e9"),
        ({"codes": {"liver": ["1", "Liver"]}}, "codes: liver must be one of"),
    ],
)
def test_mistakes_are_one_line(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text) as error:
        Labels(**{**KITS23, **changes})
    assert "\n" not in str(error.value)
