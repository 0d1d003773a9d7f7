"""What the environment says."""

from job.settings import CONTROL_VARIABLES, read_settings
from job.spec.overrides import Override


def test_control_variables_are_read():
    """The spec, the run id and the code's origin come from their variables."""
    settings = read_settings(
        {"JOB_SPEC": "s.yaml", "JOB_RUN_ID": "night-1", "JOB_GIT_COMMIT": "abc", "JOB_IMAGE_DIGEST": "sha256:0"}
    )
    assert (settings.spec, settings.run_id) == ("s.yaml", "night-1")
    assert (settings.git_commit, settings.image_digest) == ("abc", "sha256:0")
    assert settings.overrides == ()
    assert settings.warnings == ()


def test_the_commit_of_a_github_workflow_is_used_unless_another_is_given():
    """GITHUB_SHA stands in for JOB_GIT_COMMIT."""
    assert read_settings({"GITHUB_SHA": "abc"}).git_commit == "abc"
    assert read_settings({"GITHUB_SHA": "abc", "JOB_GIT_COMMIT": "def"}).git_commit == "def"


def test_an_empty_variable_counts_as_not_set():
    """Workflows write empty variables where an input is missing."""
    empty = dict.fromkeys([*CONTROL_VARIABLES, "JOB_SEED", "JOB_SEARCH__MAX_EPOCHS", "JOB_X__Y"], "")
    del empty["JOB_SPEC"]
    assert read_settings(empty) == read_settings({})


def test_an_emptied_spec_is_no_missing_one():
    """The ConfigMap that it came from may have been emptied; what is made of that is for whoever reads it to say."""
    assert read_settings({"JOB_SPEC": ""}).spec == ""
    assert read_settings({}).spec is None


def test_fields_become_overrides_whole_sections_first():
    """A section's variable comes before those of its fields, whatever their order in the environment."""
    settings = read_settings({"JOB_SEARCH__FACTOR": "4", "JOB_SEARCH": "{factor: 2}", "JOB_NAME": "x", "HOME": "/"})
    assert settings.overrides == (
        Override("JOB_NAME", ("NAME",), "x"),
        Override("JOB_SEARCH", ("SEARCH",), "{factor: 2}"),
        Override("JOB_SEARCH__FACTOR", ("SEARCH", "FACTOR"), "4"),
    )


def test_variables_that_kubernetes_injects_are_warned_of_and_ignored():
    """A service called `job` brings variables that are not ours; an Indexed Job's index is known."""
    settings = read_settings(
        {"JOB_SERVICE_HOST": "10.0.0.1", "JOB_PORT_80_TCP_ADDR": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}
    )
    assert settings.overrides == ()
    assert [warning.split()[2] for warning in settings.warnings] == ["JOB_PORT_80_TCP_ADDR", "JOB_SERVICE_HOST"]


def test_a_warning_names_what_was_probably_meant():
    """A misspelt field, or one without its section, is pointed at the right variable."""
    settings = read_settings({"JOB_OUTPT": "x", "JOB_MAX_EPOCHS": "3", "JOB_UNITS": "3"})
    assert [warning.split("; ")[1] for warning in settings.warnings] == [
        "did you mean JOB_SEARCH__MAX_EPOCHS?",
        "did you mean JOB_OUTPUT?",
        "did you mean JOB_SPACE__UNITS?",
    ]


def test_a_variable_with_two_underscores_is_always_an_override():
    """What names no field is left to the spec's validation to report."""
    assert read_settings({"JOB_X__Y": "1"}).overrides == (Override("JOB_X__Y", ("X", "Y"), "1"),)
