"""Which folders are splits, by their names and by what lies beside them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.data.source_files import SourceFile
from job.data.split_folders import files_of_splits
from job.errors import DataError
from job.spec import DataSpec

PLACE = "s3://sets/photos"


def divided(*keys, **fields):
    """The keys of each split below its folder, and the notes; `.png` files are data."""
    files = tuple(SourceFile(Path(key), f"{PLACE}/{key}", key, is_copy=False) for key in keys)
    notes = []
    spec = DataSpec(source=PLACE, format="images", **fields)
    found = files_of_splits(spec, lambda *_: files, lambda file: file.suffix == ".png", notes)
    return {split: [file.relative for file in files] for split, files in found.items()}, notes


def refusal(*keys, **fields):
    with pytest.raises(DataError) as caught:
        divided(*keys, **fields)
    return caught.value


@pytest.mark.parametrize("beside", [(), ("labels.csv",), ("docs/a.txt",), ("preview.png",), ("unlabelled/1.png",)])
@pytest.mark.parametrize("validation", ["validation", "val", "valid", "dev", "VAL", "Valid"])
def test_splits_are_splits_whatever_lies_beside_them(validation, beside):
    """The folders' names decide, in any case; what is beside them is not used, and the log says so."""
    found, notes = divided("Train/a/1.png", f"{validation}/a/2.png", "TEST/b/3.png", *beside)
    assert found == {"train": ["a/1.png"], "validation": ["a/2.png"], "test": ["b/3.png"]}
    assert notes[0].startswith(f"folders of {PLACE} are splits (data.split_folders): Train (train)")
    assert len(notes) == 1 + len(beside)
    if beside:
        assert f"1 files beside the splits of {PLACE} are not used: {beside[0].split('/')[0]}" in notes


def test_training_rows_alone_are_one_split():
    """A folder of training rows with nothing but papers beside it is the split; the others are drawn from it."""
    assert divided("train/a/1.png", "README")[0] == {"train": ["a/1.png"]}


@pytest.mark.parametrize("name", ["train", "test", "Validation"])
def test_one_split_among_other_folders_is_asked_for(name):
    """It may be a class (a train, a test); the message names it, what lies beside it, and the field that decides."""
    error = refusal(f"{name}/1.png", "bus/2.png", "car/3.png")
    assert error.message.startswith(f"{PLACE}: {name} may be a split, or one among bus and car")
    assert error.advice.startswith("data.split_folders: true")
    keys = (f"{name}/1.png", "bus/2.png", "car/3.png")
    assert divided(*keys, split_folders=False)[0] == {"train": list(keys)}


def test_the_spec_says_what_is_meant():
    """`true` leaves out what lies beside the splits, and joins folders for one split."""
    found, notes = divided("train/1.png", "bus/2.png", split_folders=True)
    assert found == {"train": ["1.png"]}
    assert any("are not used: bus" in note for note in notes)
    assert "both called like the validation split" in refusal("train/1.png", "val/2.png", "dev/3.png").message
    found, _ = divided("train/1.png", "val/2.png", "dev/3.png", split_folders=True)
    assert found == {"train": ["1.png"], "validation": ["2.png", "3.png"]}


def test_without_training_rows_there_is_nothing_to_learn():
    """Validation and test rows alone are refused, also where the spec says that they are splits."""
    for fields in ({}, {"split_folders": True}):
        assert "there is no folder called train" in refusal("val/a/1.png", "test/a/2.png", **fields).message
    assert "no folder called train" in refusal("cat/1.png", "dog/2.png", split_folders=True).message


@pytest.mark.parametrize(
    "keys", [("set/train/a/1.png", "set/val/a/2.png"), ("a/train/1.png", "a/test/2.png", "b/3.png")]
)
def test_splits_that_lie_deeper_are_not_mixed(keys):
    """Splits below the top, of a source one folder too high or within classes, would otherwise be trained on."""
    error = refusal(*keys)
    assert "which are called like splits: these are expected at the top" in error.message
    assert divided(*keys, split_folders=False)[0] == {"train": list(keys)}


def test_a_source_of_its_own_takes_the_place_of_a_folder():
    """`test_source` is used instead of the folder, and the log says so."""
    _, notes = divided("train/a/1.png", "test/a/2.png", test_source="s3://sets/other", validation_fraction=0.2)
    assert f"folder test of {PLACE} is not used: data.test_source takes its place" in notes
    assert not any("validation_fraction" in note for note in notes)


@given(st.lists(st.sampled_from(["train", "Val", "test", "cat", "dog", ""]), min_size=1, max_size=8, unique=True))
def test_no_file_is_in_two_splits_or_lost_in_silence(folders):
    """Whatever lies at the top, files are in one split or noted, or the job ends."""
    keys = [f"{folder}/a/{number}.png".lstrip("/") for number, folder in enumerate(folders)]
    try:
        found, notes = divided(*keys)
    except DataError:
        return
    used = [name for names in found.values() for name in names]
    assert len(set(used)) == len(used)
    assert len(used) == len(keys) or any("are not used" in note for note in notes)
    assert found["train"]
