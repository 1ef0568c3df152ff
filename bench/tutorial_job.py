"""From the create request to the first tuned answer on a warm server, beside a script that does the same with TRL.

    python bench/tutorial_job.py [--rounds 5] [--threads 2]

The tutorial's fifteen examples, five epochs, batches of four. Ours: a server that has tuned and answered before gets
the create, is asked whether it is done, and is asked one question. The script's time is that of its process: it imports
TRL, tunes, saves, loads what it saved and asks the same question.
"""

import argparse
import json
import subprocess
import time
from pathlib import Path

import httpx

import children
import peers
import precision
import report
from bench_server import running, tutorial_body
from tuningfork.embedded import model_directory
from tuningfork.settings import usable_cores
from tuningfork.tutorial import EXAMPLES

QUESTION, ANSWER = "LXIII", "LXIV"
SCRIPT = "a script with TRL"
AT_MOST_SECONDS = 3.0
WANTED_RATIO = 5.0


def ours_once(client: httpx.Client) -> dict[str, float]:
    """Seconds from sending the create to ACTIVE, and to the end of the first answer."""
    begin = time.perf_counter()
    operation = client.post("/v1beta/tunedModels", json=tutorial_body()).raise_for_status().json()
    while not operation.get("done"):
        time.sleep(0.005)
        operation = client.get(f"/v1/{operation['name']}").raise_for_status().json()
    active = time.perf_counter() - begin
    name = operation["response"]["name"]
    body = {"contents": [{"parts": [{"text": QUESTION}]}]}
    answer = client.post(f"/v1beta/{name}:generateContent", json=body).raise_for_status().json()
    seconds = time.perf_counter() - begin
    said = answer["candidates"][0]["content"]["parts"][0]["text"]
    if said != ANSWER:
        raise SystemExit(f"the tuned model says {said!r} to {QUESTION}, not {ANSWER}")
    client.delete(f"/v1beta/{name}").raise_for_status()
    return {"active": active, "answer": seconds}


def script_once(python: Path, *, device: str = "cpu") -> tuple[float, str]:
    """Seconds from the start of the script's process to its answer, and the answer.

    Raises:
        PeerMissing: the script failed.

    """
    job = {
        "model": str(model_directory()),
        "device": device,
        "dtype": precision.native(device),
        "examples": EXAMPLES,
        "question": QUESTION,
    }
    begin = time.perf_counter()
    command = [python, children.PROGRAMS / "tutorial_trl.py", json.dumps(job)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=children.seconds_left())
    except subprocess.TimeoutExpired:
        raise peers.PeerMissing("the script had not ended when the time was up") from None
    seconds = time.perf_counter() - begin
    if done.returncode != 0:
        raise peers.PeerMissing(f"the script failed: {done.stderr[-800:]}")
    return seconds, done.stdout.rpartition("answer:")[2].strip()


def compare(*, rounds: int, install: bool, device: str = "cpu", at_most: float, ratio: float) -> list[report.Row]:
    """Rounds of ours and of the script, by turns."""
    notes = precision.notes(device)
    python: Path | None = None
    try:
        python = peers.python_of("trl", install=install)
        if children.seconds_left() is None:
            # Once uncounted: its files are then in the page cache, as ours are.
            script_once(python, device=device)
    except peers.PeerMissing as error:
        python, notes = None, [*notes, f"{SCRIPT} was not measured: {error}"]
    active: list[float] = []
    answered: list[float] = []
    script: list[float] = []
    said: list[str] = []
    with running() as server, server.client() as client:
        ours_once(client)
        for index in children.rounds(rounds):
            ours = ours_once(client)
            active.append(ours["active"])
            answered.append(ours["answer"])
            if python:
                try:
                    seconds, answer = script_once(python, device=device)
                except peers.PeerMissing as error:
                    python, notes = None, [*notes, f"{SCRIPT} was not measured again: {error}"]
                else:
                    script.append(seconds)
                    said.append(answer)
            print(f"  round {index + 1} of {rounds}", flush=True)
    work = "the tutorial's job"
    facts = {f"the script's answers to {QUESTION}": ", ".join(sorted(set(said)))} if said else {}
    return [
        report.Row(
            work=f"{work}: from create to the first tuned answer, warm server",
            unit="s",
            samples={report.OURS: answered, **({SCRIPT: script} if script else {})},
            wanted=f"at most {at_most:g} s, and {ratio:g} x faster than the script",
            wanted_ratios={SCRIPT: ratio},
            at_most=at_most,
            facts=facts,
            notes=notes,
        ),
        report.Row(work=f"{work}: from create to ACTIVE, warm server", unit="s", samples={report.OURS: active}),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, help="default: 5, or 1 with --quick")
    parser.add_argument("--threads", type=int, default=min(2, usable_cores()))
    children.add_quick(parser)
    arguments = parser.parse_args()
    children.begin(arguments)
    rounds = arguments.rounds or (1 if arguments.quick else 5)
    rows = compare(rounds=rounds, install=not arguments.quick, at_most=AT_MOST_SECONDS, ratio=WANTED_RATIO)
    report.show("The tutorial's job", [row.as_json() for row in rows])
    if not arguments.quick:
        report.write_result(
            "tutorial_job",
            rows,
            title="From create to the first tuned answer",
            threads=arguments.threads,
            caveats=("The script's files are in the page cache; nothing is downloaded.",),
        )


if __name__ == "__main__":
    main()
