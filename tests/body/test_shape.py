"""Betas by name and by number."""

from __future__ import annotations

import re

import numpy as np
import pytest
from safetensors import safe_open

from kinema.body.shape import BETA_NAMES, parse_betas
from kinema.checkpoints import ASSETS
from kinema.errors import InputError


def test_names_are_those_of_the_shipped_bodies():
    for category, file in (("human", "human_body/human"), ("animal", "quadruped_body/quadruped")):
        with safe_open(ASSETS / f"{file}.safetensors", "np") as body:
            listed = body.metadata()["betas"]
        separator = ";" if ";" in listed else ","
        assert tuple(re.sub(":.*", "", entry).strip() for entry in listed.split(separator)) == BETA_NAMES[category]


def test_by_name_and_by_number():
    by_name = parse_betas("height=1, legs=-0.5", "human")
    np.testing.assert_array_equal(by_name, [1, 0, 0, 0, 0, -0.5, 0, 0, 0, 0])
    np.testing.assert_array_equal(parse_betas("1,0,0,0,0,-0.5", "human"), by_name)
    assert parse_betas("tail-length=2", "animal")[9] == 2


def test_betas_of_licensed_bodies_have_no_names():
    assert parse_betas("2,0,-1", "human", licensed=True)[2] == -1
    with pytest.raises(InputError, match="no names"):
        parse_betas("height=1", "human", licensed=True)


WRONG = ["tall", "tall=1", "height=much", "height=nan", "inf", "", "height=300", "-11", ",".join("1" * 11)]


@pytest.mark.parametrize("text", WRONG)
def test_what_cannot_be_read_is_refused(text):
    with pytest.raises(InputError, match="betas"):
        parse_betas(text, "human")
