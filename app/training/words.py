"""What the Train workspace says: states, times, sizes, and what became of a run."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication

from app.training.events import PairPicture
from app.training.interpreter import exit_words
from app.training.runs import Run, State

translate = QCoreApplication.translate
GB = 1e9


def duration(seconds: float) -> str:
    """A time as people say it: 40 s, 12 min, 2 h 5 min, 3 d 4 h."""
    if seconds < 90:
        return translate("Training", "{0} s").format(max(1, round(seconds)))
    minutes = round(seconds / 60)
    if minutes < 90:
        return translate("Training", "{0} min").format(minutes)
    hours, minutes = divmod(minutes, 60)
    if hours < 36:
        if not minutes:
            return translate("Training", "{0} h").format(hours)
        return translate("Training", "{0} h {1} min").format(hours, minutes)
    days, hours = divmod(hours, 24)
    return translate("Training", "{0} d {1} h").format(days, hours)


def gigabytes(size: float) -> str:
    """A size in memory: 0.4 GB, 23 GB."""
    value = size / GB
    return translate("Training", "{0} GB").format(f"{value:.1f}" if value < 10 else f"{value:,.0f}")


def percent(share: float) -> str:
    """A share, 0..1."""
    return translate("Training", "{0} %").format(f"{100 * share:.1f}")


def state_name(state: State) -> str:
    """A state in a word or two."""
    return {
        State.STARTING: translate("Training", "Starting"),
        State.DATA: translate("Training", "Rendering data"),
        State.TRAINING: translate("Training", "Training"),
        State.PAUSING: translate("Training", "Pausing"),
        State.PAUSED: translate("Training", "Paused"),
        State.STOPPING: translate("Training", "Stopping"),
        State.STOPPED: translate("Training", "Stopped"),
        State.DONE: translate("Training", "Done"),
        State.FAILED: translate("Training", "Failed"),
        State.EMPTY: translate("Training", "Nothing yet"),
    }[state]


def in_short(run: Run) -> str:
    """A run in one line, for the list."""
    story, state = run.story, run.state
    words = state_name(state)
    if state == State.DATA and story.data and story.data[1]:
        return translate("Training", "{0}: {1} of {2}").format(words, *story.data)
    if state in (State.TRAINING, State.PAUSING, State.PAUSED, State.STOPPING) and story.share > 0:
        return f"{words} · {whole_percent(story.share)}"
    score = story.score
    if score is not None and state not in (State.STARTING, State.EMPTY):
        return f"{words} · {recall_words(run, score)}"
    if story.step:
        return translate("Training", "{0} · step {1}").format(words, f"{story.step:,}")
    return words


def recall_words(run: Run, score: float) -> str:
    """A run's recall for the list; of several kinds of photo it is their mean."""
    words = (
        translate("Training", "mean recall {0}")
        if run.story.kinds > 1
        else translate("Training", "recall {0}")
    )
    return words.format(percent(score))


def best_recall_words(run: Run, score: float) -> str:
    """A run's recall at length: the best validation's, over as many kinds of photo as it asks."""
    if run.story.kinds > 1:
        words = translate("Training", "best mean of the {1} recalls {0}")
        return words.format(percent(score), run.story.kinds)
    return translate("Training", "best recall {0}").format(percent(score))


def whole_percent(share: float) -> str:
    """A share of work done, 0..1; never 100 before the end."""
    return translate("Training", "{0} %").format(min(100, int(100 * share)))


def at_length(run: Run) -> str:
    """How a run stands, a line under its name."""
    story, state = run.story, run.state
    parts = [state_name(state)]
    if state == State.DATA and story.data:
        parts = [translate("Training", "Rendering the data: {0} of {1} towns").format(*story.data)]
    elif state == State.STARTING:
        parts = [translate("Training", "The trainer is starting")]
    elif state == State.STOPPING:
        parts = [translate("Training", "Stopping: a checkpoint is being written")]
    elif state == State.PAUSED:
        parts = [translate("Training", "Paused: it holds its place and its memory")]
    if story.step:
        parts.append(translate("Training", "step {0}").format(f"{story.step:,}"))
    if state == State.TRAINING and story.share > 0:
        parts.append(whole_percent(story.share))
        left = story.remaining_s
        if left is not None:
            parts.append(translate("Training", "about {0} left").format(duration(left)))
    elif story.elapsed_s:
        parts.append(translate("Training", "{0} of training").format(duration(story.elapsed_s)))
    score = story.score
    if score is not None:
        parts.append(best_recall_words(run, score))
    return " · ".join(parts)


def what_failed(run: Run) -> tuple[str, str]:
    """Why a run failed, and what to do: a headline and a sentence or two."""
    story = run.story
    again = translate("Training", "Go on from its last checkpoint with Resume.")
    if not run.story.checkpoint and not run.story.best:
        again = translate("Training", "There is no checkpoint yet; Resume starts it again.")
    if story.phase == "error" and story.problem:
        headline = translate("Training", "The training ended: {0}").format(_ended(story.problem))
        return headline, " ".join(part for part in (_ended(story.remedy), again) if part)
    if run.code is not None:
        headline = translate("Training", "The trainer broke off with {0}.").format(
            exit_words(run.code)
        )
    else:
        headline = translate("Training", "The trainer is gone without having said why.")
    last = complaint(run.errors)
    if last:
        return headline, f"{_ended(last)} {again}"
    hint = translate("Training", "It may have been ended from outside, or the machine restarted.")
    return headline, f"{hint} {again}"


def complaint(errors: str) -> str:
    """The line of a standard error that says most: what the program said itself, else the last one."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    for line in reversed(lines):
        if line.startswith("nadir: "):
            return line.removeprefix("nadir: ")
    return lines[-1][:300] if lines else ""


def _ended(text: str) -> str:
    text = text.strip()
    return text if not text or text[-1] in ".!?…" else f"{text}."


def query_name(query: str) -> str:
    """A kind of query that the trainer validates on, in words."""
    kind, _, heading = query.partition(" ")
    word = {
        "known": translate("Training", "heading known"),
        "unknown": translate("Training", "heading unknown"),
    }.get(heading)
    if word is None or not kind.isdigit():
        return query
    return f"{kind}° {word}"


def pair_caption(pair: PairPicture) -> str:
    """What became of a photo of the validation."""
    parts = [pair.name] if pair.name else []
    if pair.error_m is not None:
        parts.append(translate("Training", "placed {0} m off").format(f"{pair.error_m:,.0f}"))
    if pair.rank == 1:
        parts.append(translate("Training", "its tile came first"))
    elif pair.rank is not None:
        parts.append(translate("Training", "its tile came as number {0}").format(f"{pair.rank:,}"))
    return " · ".join(parts)
