"""`summary.md`: a run's result for people."""

from collections.abc import Iterable, Mapping, Sequence

from job.records import Manifest, SearchTotals, Sensitivity, TrialRecord, Variation, best_first

_BEST_TRIALS = 10
_LEAST_SHOWN, _MOST_SHOWN = 1e-3, 1e6


def summary_of(
    manifest: Manifest,
    trials: Sequence[TrialRecord],
    model_url: str,
    sensitivity: Sensitivity | None = None,
    notes: Sequence[str] = (),
) -> str:
    """Markdown: the result, the best hyperparameters, the best trials, and what fell short.

    Args:
        manifest: the run's manifest as far as it is known before publication.
        trials: all trial records.
        model_url: where the published model will be.
        sensitivity: what varying each hyperparameter did; None where that was not asked for.
        notes: what the job took the data for.
    """
    totals = manifest.search
    best = best_first(trials, totals.direction)[:_BEST_TRIALS]
    sections = [
        f"# {manifest.name}: run {manifest.run_id}",
        _result(manifest, model_url),
        "## Best hyperparameters",
        _table(
            ("hyperparameter", "value"),
            [(name, show_value(value)) for name, value in manifest.best_hyperparameters.items()],
        ),
        "## Best trials",
        _table(("trial", "score", "best epoch", "epochs", "hyperparameters"), [trial_row(r) for r in best]),
        _score_in_words(totals, best),
        *(() if sensitivity is None else ("## Sensitivity", _sensitivity(sensitivity))),
        "## Search",
        _search(manifest),
        *(("## Data", _table(("what it was taken for",), [(note,) for note in notes])) if notes else ()),
        "## Time",
        _table(("stage", "seconds"), [(stage, f"{seconds:.1f}") for stage, seconds in manifest.seconds.items()]),
    ]
    return "\n\n".join(sections) + "\n"


def _score_in_words(totals: SearchTotals, best: Sequence[TrialRecord]) -> str:
    text = f"A score is the best `{totals.objective}` ({totals.direction}) over all epochs of a configuration"
    if not best or best[0].deviation is None:
        return f"{text}."
    return f"{text}: the mean over its {len(best[0].executions)} trainings, ± their standard deviation."


def _sensitivity(found: Sensitivity) -> str:
    """Hyperparameters by effect, the largest first; ties, and those without one, in the order of the space."""
    ranked = sorted(found.hyperparameters, key=lambda one: -1.0 if one.effect is None else one.effect, reverse=True)
    rows = [
        (one.name, show_value(one.best), show_value(one.effect), "; ".join(map(_variation_in_words, one.variations)))
        for one in ranked
    ]
    text = (
        f"Each hyperparameter varied around trial {found.trial_id} (score {show_value(found.score)}), the others "
        f"fixed, trained for {found.epochs} epochs. A difference is that of the score to the best trial's: "
        f"{'above' if found.direction == 'max' else 'below'} zero the variation is better."
    )
    table = _table(("hyperparameter", "best", "largest difference", "value: difference"), rows)
    return "\n\n".join((text, table, *(() if found.note is None else (f"Not complete: {found.note}.",))))


def _variation_in_words(variation: Variation) -> str:
    difference = "failed" if variation.difference is None else f"{variation.difference:+.4g}"
    return f"{show_value(variation.value)}: {difference}"


def show_score(record: TrialRecord) -> str:
    """A trial's score, of several executions with its deviation."""
    score = show_value(record.score)
    return score if record.deviation is None else f"{score} ± {record.deviation:.2g}"


def show_value(value: object) -> str:
    """A hyperparameter or score as people write it."""
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def trial_row(record: TrialRecord) -> tuple[str, ...]:
    """Trial, score, best epoch, epochs, hyperparameters."""
    values = ", ".join(f"{name}={show_value(value)}" for name, value in record.hyperparameters.items())
    return (
        record.trial_id,
        show_score(record),
        show_value(record.best_epoch),
        str(record.to_epoch),
        values or "-",
    )


def _result(manifest: Manifest, model_url: str) -> str:
    model = manifest.model
    origin = "the retrained model" if model.origin == "retrain" else "the search's own model"
    lines = (
        f"Test split ({manifest.data.splits['test'].rows} rows, used once): {_scores(manifest.scores.test)}",
        f"Best trial: {_scores(manifest.scores.validation, manifest.scores.deviation)}",
        f"Published: {origin}, trained on {model.trained_on.replace('_', ' ')} for {model.epochs} epochs",
        *(
            f"Retraining {number} of {len(model.attempts)} was worse: {attempt.shortfall}"
            for number, attempt in enumerate(model.attempts, start=1)
            if attempt.shortfall is not None
        ),
        f"Model: `{model_url}`",
        f"Data: `{manifest.data.source}`, {manifest.data.rows} rows, fingerprint `{manifest.data.fingerprint[:16]}`",
    )
    return "\n".join(f"- {line}" for line in lines)


def result_lines(manifest: Manifest, model_url: str) -> tuple[str, ...]:
    """The few lines that a person wants to read at the end of a run."""
    best = ", ".join(f"{name} {show_value(value)}" for name, value in manifest.best_hyperparameters.items())
    return (
        f"best hyperparameters  {best or 'none are searched'}",
        f"validation            {_scores(manifest.scores.validation, manifest.scores.deviation)}",
        f"test                  {_scores(manifest.scores.test)}",
        f"model                 {model_url}",
    )


def _scores(scores: Mapping[str, float], deviation: Mapping[str, float] | None = None) -> str:
    spread = {name: f" ± {_score(value)}" for name, value in (deviation or {}).items()}
    return ", ".join(f"{name} {_score(value)}{spread.get(name, '')}" for name, value in scores.items())


def _score(value: float) -> str:
    """Four decimals, unless they would hide what there is: scores of a regression are in the target's unit."""
    return f"{value:.4f}" if value == 0 or _LEAST_SHOWN <= abs(value) < _MOST_SHOWN else f"{value:.5g}"


def _search(manifest: Manifest) -> str:
    totals = manifest.search
    lines = [
        f"- Trials: {totals.trials} of {totals.planned_trials} planned, {totals.failed_trials} failed",
        f"- Epochs: {totals.epochs} of {totals.planned_epochs} planned",
    ]
    if totals.stopped_by is not None:
        lines.append(f"- Stopped early by {totals.stopped_by}")
    lines += [
        f"- Iteration {short.iteration}, bracket {short.bracket}, rung {short.rung}: {short.actual} of "
        f"{short.planned} trials: {short.reason}"
        for short in totals.shortfalls
    ]
    return "\n".join(lines)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
