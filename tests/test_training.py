"""`rag train distill` on a toy corpus: what is learned, what is kept, what goes on after a kill."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from rag.checkpoint import BUNDLED, inspect
from rag.embedders.bge_m3 import BgeM3Embedder
from rag.errors import DiskError
from rag.model_card import Recommended
from rag.training.stages import save_whole
from tests.command_line import Shell, call
from tests.toy_parallel import RECIPE, pairs, write_parallel

TEACHER = str(BUNDLED["pocket-m3"])
"""Any sentence-transformers model is a teacher: here the only one that is at hand."""

MARGIN = 0.4
"""Accuracy@1 above the start that a run of 210 steps has to gain (it gains about 0.65)."""


MORE = """
[data]
held_out = 60
[teacher]
vocabulary = 0
[transformer]
steps = 20
rate = 1e-3
batch = 2000
[heads]
steps = 4
rate = 1e-3
batch = 16
"""


@dataclass(frozen=True)
class Trained:
    """A run that nothing stopped."""

    folder: Path
    events: list[dict[str, object]]

    def accuracy(self, stage: str, step: int) -> float:
        """Mean over the languages."""
        [found] = [
            event["accuracy"]
            for event in self.events
            if event["event"] == "evaluation" and (event["stage"], event["step"]) == (stage, step)
        ]
        assert isinstance(found, dict)
        return sum(found.values()) / len(found)


def command(*more: str, out: str = "student") -> list[str]:
    words = ["rag", "train", "distill", "--teacher", TEACHER, "--parallel", "pairs", "--recipe", "toy.toml"]
    return [*words, "--out", out, "--json", *more]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    write_parallel(folder / "pairs", "de", "es")
    (folder / "toy.toml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def trained(place: Path) -> Trained:
    """One whole run as a user starts it; in a process of its own, which the tests can then kill another one of."""
    done = subprocess.run(
        [sys.executable, "-m", *command()], cwd=place, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return Trained(place / "student", [json.loads(line) for line in done.stdout.splitlines()])


@pytest.fixture
def shell(place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.chdir(place)
    return lambda *words: call(tuple(words), monkeypatch, capfd)


def test_translations_come_together(trained: Trained):
    start, end = trained.accuracy("static", 0), trained.accuracy("heads", 60)
    assert end >= start + MARGIN
    assert end >= trained.accuracy("static", 90) - 0.05  # no stage forgets what the one before it has learned


def test_the_transformer_starts_where_the_bag_of_tokens_ended(trained: Trained):
    assert trained.accuracy("transformer", 0) == pytest.approx(trained.accuracy("static", 90), abs=0.03)


def test_the_student_is_a_checkpoint_that_the_loader_and_sentence_transformers_agree_on(trained: Trained):
    from sentence_transformers import SentenceTransformer

    found = inspect(trained.folder, "student")
    assert (found.hidden_size, found.layers, found.window) == (64, 2, 64)
    assert found.recommended == Recommended(1.0, 0.5)
    texts = [text for pair in pairs("de")[:12] for text in pair]
    ours = BgeM3Embedder(found, device="cpu", dtype="float32").embed_passages(texts)
    theirs = SentenceTransformer(str(trained.folder), device="cpu").float().encode(texts)
    np.testing.assert_allclose(np.stack([each.dense for each in ours]), theirs, atol=1e-5)
    # Rare words weigh more than the article that nearly every sentence begins with.
    [embedding] = BgeM3Embedder(found, device="cpu", dtype="float32").embed_passages(
        ["Der Kapitän verkauft das Schiff."]
    )
    assert len(embedding.sparse.ids) > 1
    assert embedding.sparse.weights.max() > 2 * embedding.sparse.weights.min()


@pytest.mark.slow
def test_a_run_that_is_killed_and_started_again_ends_with_the_same_weights(trained: Trained, place: Path):
    for stage in ("static", "transformer", "heads"):
        _kill_at(place, stage)
    assert not (place / "killed").exists()
    done = subprocess.run(
        [sys.executable, "-m", *command(out="killed")],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    resumed = [json.loads(line) for line in done.stdout.splitlines()]
    assert {"event": "resumed", "stage": "heads", "step": 30, "steps": 60}.items() <= _find(resumed, "heads").items()
    for name in ("model.safetensors", "sparse_linear.pt", "colbert_linear.pt", "tokenizer.json"):
        assert (place / "killed" / name).read_bytes() == (trained.folder / name).read_bytes(), name


def test_a_student_goes_on_with_a_language_of_its_users(trained: Trained, place: Path, shell: Shell):
    write_parallel(place / "spanish", "es")
    (place / "more.toml").write_text(MORE)
    words = [
        "--teacher",
        TEACHER,
        "--parallel",
        "spanish",
        "--recipe",
        "more.toml",
        "--init",
        "student",
        "--out",
        "more",
    ]
    done = shell("rag", "train", "distill", *words)
    assert done.code == 0, done.err
    assert "static" not in done.err
    assert (place / "more" / "tokenizer.json").read_bytes() == (trained.folder / "tokenizer.json").read_bytes()
    before, after = (inspect(place / name, name).fingerprint for name in ("student", "more"))
    assert before != after
    first, last = (line for line in done.err.splitlines() if line.startswith("transformer: accuracy@1"))
    assert _figure(last) >= _figure(first) - 0.05
    assert "accuracy@1 of held-out translations" in done.out


@pytest.mark.parametrize(
    ("change", "code", "told"),
    [
        (["--parallel", "nowhere"], 2, "--parallel 'nowhere' cannot be read (No such file or directory)"),
        (["--recipe", "none"], 2, "there is no recipe 'none': give a TOML file, or one of: pocket-m3"),
        (
            ["--recipe", "wrong.toml"],
            2,
            "recipe 'wrong.toml', static.steps: input should be greater than or equal to 0",
        ),
        (["--recipe", "french.toml"], 2, "pairs has no en-fr.tsv or .tsv.gz"),
        (["--recipe", "tag.toml"], 2, "recipe 'tag.toml', data.languages: 'klingonisch' is not a language tag"),
        (["--recipe", "large.toml"], 2, "no tokenizer of 60000 pieces can be trained on 1600 pairs"),
        (["--teacher", "nobody"], 3, "the teacher 'nobody' cannot be loaded"),
        (["--teacher", "broken"], 3, "the teacher 'broken' cannot be loaded"),
        (["--init", "headless", "--recipe", "more.toml"], 3, "headless has no sparse_linear.pt"),
        (["--init", "student", "--tokenizer", "student"], 2, "--init and --tokenizer exclude each other"),
        (["--tokenizer", "pairs"], 3, "pairs/tokenizer.json cannot be read"),
        (["--out", "student"], 2, "--out 'student' exists already"),
        (["--work", "student.training", "--seed", "5"], 2, "holds a run that was begun with another seed"),
        (["--work", "never/work"], 2, "--work 'never/work' would lie in --out 'never'"),
        (["--init", "student"], 2, "the recipe sets [student], and --init takes over the sizes of 'student'"),
        (["--seed", "5000000000"], 2, "is not in the range 0<=x<=4294967295"),
        (["--work", "pairs"], 2, "pairs holds something that is no training run"),
        (["--parallel", "empty"], 2, "en-de.tsv holds no pair that can be used (line 1: the translation is empty)"),
        (["--parallel", "torn"], 2, "en-de.tsv.gz cannot be read"),
        (["--parallel", "strange"], 2, "en-klingonisch.tsv: 'klingonisch' is not a language tag"),
        (["--parallel", "twice"], 2, "hold the same language"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    trained: Trained, place: Path, shell: Shell, change: list[str], code: int, told: str, tmp_path: Path
):
    _write_what_is_wrong(place, trained.folder)
    work = [] if "--work" in change or change == ["--out", "student"] else ["--work", str(tmp_path / "work")]
    done = shell(*command(*work, out="never"), *change)
    assert done.code == code
    assert told in done.err
    assert len(done.err.splitlines()) == 1
    assert not (place / "never").exists()


def test_a_mistake_that_is_put_right_needs_no_other_folder(place: Path, shell: Shell):
    (place / "short").mkdir()
    (place / "short" / "en-de.tsv").write_text("A cat.\tEine Katze.\nA dog.\tEin Hund.\n")
    words = [*command(out="mended"), "--parallel", "short"]
    first = shell(*words)
    assert (first.code, "no tokenizer of 180 pieces" in first.err) == (2, True)
    words[words.index(TEACHER)] = "nobody"
    words[-1] = "pairs"
    second = shell(*words)
    assert (second.code, "the teacher 'nobody' cannot be loaded" in second.err) == (3, True)


def test_a_run_that_is_under_way_is_not_joined_by_another(trained: Trained, place: Path, shell: Shell):
    from filelock import FileLock

    with FileLock(place / "student.training" / ".lock"):
        done = shell(*command("--work", "student.training", out="never"))
    assert (done.code, "is in use by another run" in done.err) == (2, True)


def test_lines_that_are_no_pairs_are_named_and_cost_no_others(trained: Trained, place: Path):
    from rag.training import parallel
    from rag.training.recipe import Data

    folder = place / "mixed"
    folder.mkdir()
    lines = [
        "\ufeffA cat.\tEine Katze.",
        "no tab here",
        "\tohne Englisch",
        "A dog.\t ",
        "A cat.\tEine Katze.",
        "Up.\tHoch.\tx\r",
        f"Long.\t{'sehr ' * 200}lang.",
        "SECRET plan.\tGeheimer Plan.",
    ]
    content = "\n".join(lines).encode() + "\nDoor.\tT\xfcr.\n".encode("latin-1")
    (folder / "en-de.tsv").write_bytes(content)
    text = parallel.read(folder, Data(exclude=("(?i)secret", "(?i)never")), 0)
    assert list(zip(text.english, text.other, strict=True)) == [("A cat.", "Eine Katze."), ("Up.", "Hoch.")]
    [left_out] = text.left_out
    assert (left_out.lines, left_out.first) == (5, "line 2: no tab: each line is English<TAB>translation[<TAB>source]")


def test_a_disk_that_fills_leaves_the_last_checkpoint(tmp_path: Path):
    path = tmp_path / "stage.pt"
    save_whole(path, {"step": 1, "weights": np.zeros(10).tolist()})
    before = path.read_bytes()
    with _largest_file(20_000), pytest.raises(DiskError, match="the checkpoint before it stays") as raised:
        save_whole(path, {"step": 2, "weights": list(range(100_000))})
    assert "\n" not in str(raised.value)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_fills_at_the_end_leaves_the_training(trained: Trained, place: Path, shell: Shell):
    shutil.copytree(place / "student.training", place / "full.training")
    size = (trained.folder / "model.safetensors").stat().st_size
    with _largest_file(size // 2):
        done = shell(*command(out="full"))
    assert done.code == 5
    assert "full cannot be written" in done.err
    assert "the training is kept" in done.err
    assert not (place / "full").exists()
    assert shell(*command(out="full")).code == 0
    assert (place / "full" / "model.safetensors").stat().st_size == size


def _kill_at(place: Path, stage: str) -> None:
    """Starts the run called `killed`, and kills it once a checkpoint of `stage` has been followed by more steps."""
    words = [sys.executable, "-m", *command(out="killed")]
    with subprocess.Popen(words, cwd=place, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if (event["event"], event.get("stage"), event.get("step")) == ("evaluation", stage, 30):
                # The checkpoint is written after its evaluation: wait for it, then let some steps be lost.
                _wait_for(place / "killed.training" / f"{stage}.pt")
                process.send_signal(signal.SIGKILL)
                break
        process.wait(timeout=60)
    assert process.returncode == -signal.SIGKILL


def _wait_for(path: Path) -> None:
    import time

    for _ in range(600):
        if path.is_file():
            time.sleep(0.2)
            return
        time.sleep(0.02)
    raise AssertionError(f"{path} never came")


def _find(events: list[dict[str, object]], stage: str) -> dict[str, object]:
    [found] = [event for event in events if (event["event"], event.get("stage")) == ("resumed", stage)]
    return found


def _figure(line: str) -> float:
    return float(line.partition("translations ")[2].partition(":")[0])


class _largest_file:  # noqa: N801  reads like the context manager it is
    """No file of this process may grow beyond `size` bytes, as on a disk that is full."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __enter__(self) -> None:
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self._size, self._before[1]))

    def __exit__(self, *_: object) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)


def _write_what_is_wrong(place: Path, student: Path) -> None:
    if (place / "headless").is_dir():
        return
    shutil.copytree(
        student, place / "headless", ignore=shutil.ignore_patterns("sparse_linear.pt", "modules.json", "1_*")
    )
    (place / "broken").mkdir()
    (place / "broken" / "config.json").write_text("{}")
    for name, text in {
        "wrong.toml": "[static]\nsteps = -1\nrate = 1\nbatch = 1\n",
        "french.toml": '[data]\nlanguages = ["fr"]\n',
        "tag.toml": '[data]\nlanguages = ["klingonisch"]\n',
        "large.toml": "[student]\nvocabulary = 60000\n",
        "empty/en-de.tsv": "Nothing.\t\n",
        "torn/en-de.tsv.gz": "this is no gzip",
        "strange/en-klingonisch.tsv": "One.\tHar.\n",
        "twice/en-de.tsv": "One.\tEins.\n",
        "twice/en-DE.tsv": "One.\tEins.\n",
    }.items():
        path = place / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
