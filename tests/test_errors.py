import pickle

import pytest

from megalabel.errors import DataError, MegalabelError, SettingError


def test_a_message_says_where_what_was_found_what_was_expected_and_the_next_step():
    error = DataError("7 rows", wanted="8 rows", next_step="copy the file again", where="a.txt, line 3")
    assert str(error) == "a.txt, line 3: 7 rows; expected 8 rows. Copy the file again."
    assert (error.found, error.wanted, error.next_step) == ("7 rows", "8 rows", "copy the file again")
    assert error.where == "a.txt, line 3"


def test_a_message_without_a_next_step_ends_after_what_was_expected():
    assert str(DataError("7 rows", wanted="8 rows")) == "7 rows; expected 8 rows"


def test_the_place_is_not_repeated_where_the_finding_begins_with_it():
    assert str(SettingError("k = 0", wanted="1 or more", where="k")) == "k = 0; expected 1 or more"
    assert str(SettingError("keep = 0", wanted="1 or more", where="k")) == "k: keep = 0; expected 1 or more"


def test_a_choice_lists_every_value_that_is_allowed():
    error = SettingError.choice("prune", "foo", ("threshold", "fraction", "none"))
    assert str(error) == "prune: 'foo' is not one of threshold, fraction, none"
    assert error.where == "prune"
    assert isinstance(error, MegalabelError)


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"low": 1, "integer": True}, "x: 'y' is not a whole number of at least 1"),
        ({"low": 0, "high": 1}, "x: 'y' is not a number from 0 to 1"),
        ({"low": 0, "above": True}, "x: 'y' is not a number above 0"),
        ({"low": 0, "high": 1, "below": True}, "x: 'y' is not a number of at least 0 and below 1"),
        ({"low": 0, "high": 1, "above": True}, "x: 'y' is not a number above 0 and at most 1"),
        ({"high": 5}, "x: 'y' is not a number of at most 5"),
        ({}, "x: 'y' is not a number"),
    ],
)
def test_a_range_names_its_bounds(bounds, expected):
    assert str(SettingError.range("x", "y", **bounds)) == expected


def test_an_infinite_number_is_called_not_finite():
    assert str(SettingError.range("a", float("inf"), 0, above=True)) == "a: inf is not a finite number above 0"


def test_an_error_from_another_process_has_all_its_values():
    error = SettingError("k = 0", wanted="1 or more", next_step="raise it", where="k")
    error.process = 3
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is SettingError
    assert str(again) == str(error)
    assert vars(again) == vars(error)
