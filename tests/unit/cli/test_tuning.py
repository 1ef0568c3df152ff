"""`tuningfork tune`, from a file to a tuned model."""

import io
import json
import os
import shlex
import signal
import threading

import openpyxl
import pytest

import dialect_service
from patience import wait_until

CSV = "text_input,output\n1,2\n3,4\n7,8\n"


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text(CSV)
    return path


def test_a_file_becomes_a_tuned_model_whose_name_is_all_of_the_output(tuningfork, service, pairs):
    ended = tuningfork("tune", pairs)

    assert (ended.code, ended.output) == (0, "tunedModels/m-1\n")
    assert service.tuned["tunedModels/m-1"]["examples"] == {"1": "2", "3": "4", "7": "8"}
    assert service.tuned["tunedModels/m-1"]["displayName"] == "pairs"


def test_what_is_not_said_is_left_to_the_service(tuningfork, service, pairs):
    tuningfork("tune", pairs)

    assert service.bodies[0]["baseModel"] == "models/tuningfork-mini-001"
    assert service.bodies[0]["tuningTask"]["hyperparameters"] == {}


def test_every_option_reaches_the_service(tuningfork, service, tmp_path):
    path = tmp_path / "qa.jsonl"
    path.write_text('{"q": "1", "a": "2"}\n')

    ended = tuningfork(
        *("tune", path, "--input-key", "q", "--output-key", "a"),
        *("--base-model", "models/gemini-1.0-pro-001", "--display-name", "next"),
        *("--epochs", "3", "--batch-size", "1", "--learning-rate", "0.01", "--temperature", "0.5", "--rank", "16"),
        *("--probe", "3", "--probe", "four"),
    )

    assert ended.code == 0
    assert service.ranks == ["16"]
    assert service.bodies[0] == {
        "baseModel": "models/gemini-1.0-pro-001",
        "displayName": "next",
        "temperature": 0.5,
        "tuningTask": {
            "hyperparameters": {"epochCount": 3, "batchSize": 1, "learningRate": 0.01},
            "trainingData": {"examples": {"examples": [{"textInput": "1", "output": "2"}]}},
            "probePrompts": ["3", "four"],
        },
    }


def test_progress_and_the_next_command_go_to_standard_error(tuningfork, pairs):
    errors = tuningfork("tune", pairs).errors

    assert "tunedModels/m-1: 4 steps" in errors
    assert "step 4/4 · epoch 5 · mean loss 0.500" in errors
    assert 'tuningfork generate tunedModels/m-1 "..."' in errors


def test_a_fault_that_the_service_finds_is_shown_where_it_is_in_the_file(tuningfork, tmp_path):
    path = tmp_path / "long.csv"
    path.write_text(f"q,a\n1,2\n\n3,{'x' * 21}\n5,{'y' * 22}\n")

    ended = tuningfork("tune", path, "--input-key", "q", "--output-key", "a")

    assert ended.code == 1
    assert f"{path}, line 4, column 'a': output must be at most 20 characters" in ended.errors
    assert f"{path}, line 5, column 'a'" in ended.errors
    assert "Traceback" not in ended.errors


def test_a_fault_in_the_file_is_one_sentence_and_a_cure(tuningfork, service, tmp_path):
    path = tmp_path / "broken.csv"
    path.write_text("text_input,output\n1,\n")

    ended = tuningfork("tune", path)

    assert ended.code == 1
    assert ended.errors.splitlines() == [
        f"Error: {path}, line 2, column 'output': empty.",
        "Fill it, or remove the example.",
    ]
    assert service.bodies == []


def test_a_run_that_fails_ends_with_its_reason(tuningfork, service, pairs):
    service.fail_with = "the loss is not finite"

    ended = tuningfork("tune", pairs)

    assert (ended.code, ended.output) == (1, "")
    assert "the loss is not finite" in ended.errors


@pytest.mark.parametrize("further", [(), ("--detach",)])
@pytest.mark.parametrize("login", ["no home", "damaged"])
def test_a_run_is_printed_whatever_is_wrong_with_the_login_that_it_does_not_need(
    tuningfork, service, pairs, tmp_path, monkeypatch, login, further
):
    monkeypatch.delenv("TUNINGFORK_URL")
    if login == "no home":
        monkeypatch.setenv("XDG_CONFIG_HOME", "~nobody-has-this-name")
    else:
        (tmp_path / "config" / "tuningfork").mkdir(parents=True)
        (tmp_path / "config" / "tuningfork" / "credentials.json").write_text("{")

    ended = tuningfork("tune", pairs, "--url", service.url, "--api-key", dialect_service.KEY, *further)

    assert (ended.code, ended.output) == (0, "tunedModels/m-1\n")
    assert f"tunedModels/m-1 --url {service.url}\n" in ended.errors or f'"..." --url {service.url}\n' in ended.errors


def test_an_interrupt_after_the_end_of_a_run_does_not_lose_its_name(tuningfork, service, pairs):
    service.may_diagnose.clear()

    def interrupt():
        wait_until(lambda: service.diagnoses_asked, what="the command asks for what to warn of")
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    ended = tuningfork("tune", pairs)
    thread.join()
    service.may_diagnose.set()

    assert (ended.code, ended.output) == (130, "tunedModels/m-1\n")


def test_an_interrupt_says_how_to_watch_on_and_how_to_stop(tuningfork, service, pairs):
    service.frozen = True

    def interrupt():
        wait_until(lambda: service.looks > 1, what="the command watches")
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    ended = tuningfork("tune", pairs)
    thread.join()

    assert (ended.code, ended.output) == (130, "tunedModels/m-1\n")
    for command in ("watch", "cancel", "delete"):
        assert f"  tuningfork {command} tunedModels/m-1 --url {service.url}\n" in f"{ended.errors}\n"
    assert "tunedModels/m-1" in service.tuned


def test_what_was_taken_from_the_file_is_told(tuningfork, tmp_path):
    path = tmp_path / "qa.csv"
    path.write_text("question,answer\n1,2\n")

    assert f"{path}: 1 examples, from 'question' to 'answer'" in tuningfork("tune", path).errors


def test_several_columns_are_joined_with_their_names_unless_told_otherwise(tuningfork, service, tmp_path):
    path = tmp_path / "qa.csv"
    path.write_text("context,question,answer\nc,q,a\n")
    columns = ("--input-key", "context", "--input-key", "question", "--output-key", "answer")

    tuningfork("tune", path, *columns)
    tuningfork("tune", path, *columns, "--no-prefixes")
    tuningfork("tune", path, "--input-key", "question", "--output-key", "answer", "--prefixes")

    assert [body["tuningTask"]["trainingData"]["examples"]["examples"] for body in service.bodies] == [
        [{"textInput": "context: c\nquestion: q", "output": "answer: a"}],
        [{"textInput": "c\nq", "output": "a"}],
        [{"textInput": "question: q", "output": "answer: a"}],
    ]


def test_a_fault_in_one_of_several_columns_is_shown_with_all_of_them(tuningfork, tmp_path):
    path = tmp_path / "long.csv"
    path.write_text(f"q,a,b\n1,2,{'x' * 21}\n")

    ended = tuningfork("tune", path, "--input-key", "q", "--output-key", "a", "--output-key", "b")

    assert f"{path}, line 2, columns 'a', 'b': output must be at most 20 characters" in ended.errors


def test_a_base_under_geminis_name_takes_four_megabytes_unless_told_otherwise(tuningfork, service, tmp_path):
    path = tmp_path / "large.csv"
    path.write_text("text_input,output,note\n1,2," + "x" * 4 * 2**20)
    gemini = ("--base-model", "models/gemini-1.0-pro-001")

    refused = tuningfork("tune", path, *gemini)

    assert refused.code == 1
    assert "at most 4,194,304 (4 MB), because models/gemini-1.0-pro-001 bears the name" in refused.errors
    assert service.bodies == []
    assert tuningfork("tune", path, *gemini, "--max-file-mb", "4.5").code == 0
    assert tuningfork("tune", path).code == 0
    assert tuningfork("tune", path, "--max-file-mb", "1").code == 1


def test_all_faults_of_a_file_are_told_at_once_and_nothing_is_sent(tuningfork, service, tmp_path):
    path = tmp_path / "broken.jsonl"
    path.write_text('{"text_input": "", "output": "1"}\n{"text_input": "2"}\n["3", "4"]\n{\n')

    ended = tuningfork("tune", path)

    assert ended.code == 1
    assert [line.partition("jsonl, ")[2][:6] for line in ended.errors.splitlines()[:3]] == [
        "line 1",
        "line 2",
        "line 4",
    ]
    assert service.bodies == []


def test_a_dry_run_shows_what_is_trained_and_begins_nothing(tuningfork, service, pairs):
    ended = tuningfork("tune", pairs, "--dry-run", "--epochs", "2")

    assert ended.code == 0
    assert ended.output == (
        "models/tuningfork-mini-001 would be tuned in 2 steps: epochs 2, batch size 4, learning rate 0.001\n"
        "3 examples, 21 tokens, 6 of them trained\n"
        "the longest example, line 2, has 7 tokens; the model takes 64\n"
        "how long a step takes is not known: it is measured over loaded bases, while no jobs are trained\n"
        "\n"
        "Example 1, line 2: 7 tokens, 2 trained\n"
        "  given   │ User:⏎\n"
        "  given   │ 1⏎\n"
        "  given   │ Assistant:⏎\n"
        "  TRAINED │ 2</s>\n"
        "\n"
        "Example 2, line 3: 7 tokens, 2 trained\n"
        "  given   │ User:⏎\n"
        "  given   │ 3⏎\n"
        "  given   │ Assistant:⏎\n"
        "  TRAINED │ 4</s>\n"
        "\n"
        "Example 3, line 4: 7 tokens, 2 trained\n"
        "  given   │ User:⏎\n"
        "  given   │ 7⏎\n"
        "  given   │ Assistant:⏎\n"
        "  TRAINED │ 8</s>\n"
    )
    assert service.tuned == {}


def test_a_dry_run_ends_with_an_error_where_the_tuning_would_fail(tuningfork, service, tmp_path):
    path = tmp_path / "long.csv"
    path.write_text(f"text_input,output\n1,2\n\n3,{'x' * 60}\n")

    ended = tuningfork("tune", path, "--dry-run")

    assert ended.code == 1
    assert "2 examples, 73 tokens" in ended.output
    assert f"{path}, line 4: 66 tokens, and models/tuningfork-mini-001 takes 64: the tuning would fail" in ended.errors


@pytest.mark.parametrize("option", ["--base-model", "--from"])
def test_a_tuned_model_is_tuned_further_within_the_bound_of_its_base(tuningfork, service, pairs, tmp_path, option):
    tuningfork("tune", pairs, "--base-model", "models/gemini-1.0-pro-001")
    large = tmp_path / "large.csv"
    large.write_text("text_input,output,note\n1,2," + "x" * 4 * 2**20)

    ended = tuningfork("tune", pairs, option, "tunedModels/m-1")
    refused = tuningfork("tune", large, option, "tunedModels/m-1")

    assert ended.output == "tunedModels/m-2\n"
    assert service.bodies[-1]["tunedModelSource"] == {"tunedModel": "tunedModels/m-1"}
    assert "baseModel" not in service.bodies[-1]
    assert (refused.code, "at most 4,194,304" in refused.errors) == (1, True)


# Files as people have them


def examples_of(body):
    return body["tuningTask"]["trainingData"]["examples"]


def test_conversations_are_sent_with_their_system_text_and_all_turns(tuningfork, service, tmp_path):
    path = tmp_path / "chat.jsonl"
    said = [("system", "Be short."), ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    path.write_text(json.dumps({"messages": [{"role": role, "content": text} for role, text in said]}))

    ended = tuningfork("tune", path)

    assert f"{path}: 1 examples, conversations in 'messages'" in ended.errors
    assert ended.output == "tunedModels/m-1\n"
    assert examples_of(service.bodies[0]) == {
        "multiturnExamples": [
            {
                "systemInstruction": {"parts": [{"text": "Be short."}]},
                "contents": [
                    {"role": role, "parts": [{"text": text}]}
                    for role, text in (("user", "a"), ("model", "b"), ("user", "c"), ("model", "d"))
                ],
            }
        ]
    }


def test_a_fault_in_a_conversation_is_shown_where_it_is_in_the_file(tuningfork, tmp_path):
    path = tmp_path / "chat.jsonl"
    messages = [{"role": "system", "content": "x"}, {"role": "user", "content": "a"}]
    good, long = ([*messages, {"role": "assistant", "content": text}] for text in ("b", "x" * 21))
    path.write_text("\n".join(json.dumps({"messages": each}) for each in (good, long)))

    assert f"{path}, line 2" in tuningfork("tune", path).errors


def test_several_files_are_one_dataset_and_places_name_their_file(tuningfork, service, tmp_path, pairs):
    other, third = tmp_path / "more.tsv", tmp_path / "b.json"
    other.write_text("question\tanswer\n9\t10\n")
    third.write_text(json.dumps([["11", "x" * 21]]))

    ended = tuningfork("tune", pairs, other)
    refused = tuningfork("tune", pairs, other, third)

    assert ended.output == "tunedModels/m-1\n"
    assert [example["textInput"] for example in examples_of(service.bodies[0])["examples"]] == ["1", "3", "7", "9"]
    assert f"{pairs}: 3 examples, from 'text_input' to 'output'" in ended.errors
    assert f"{other}: 1 examples, from 'question' to 'answer'" in ended.errors
    assert f"{third}, row 1, column 'output': output must be at most 20 characters" in refused.errors


def test_standard_input_is_read_for_a_hyphen(tuningfork, service, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"prompt": "1", "completion": "2"}')))

    ended = tuningfork("tune", "-")

    assert ended.output == "tunedModels/m-1\n"
    assert examples_of(service.bodies[0]) == {"examples": [{"textInput": "1", "output": "2"}]}
    assert service.bodies[0]["displayName"] == "standard input"


def test_columns_in_doubt_are_asked_about_with_the_whole_command_line_but_the_key(tuningfork, service, tmp_path):
    path = tmp_path / "my words.csv"
    path.write_text("German,English\nHund,dog\n")

    ended = tuningfork("tune", path, "--epochs", "3", "--dry-run", "--api-key", "the-key")

    assert ended.code == 1
    command = f"  tuningfork tune --epochs 3 --dry-run '{path}' --input-key German --output-key English"
    assert command in ended.errors.splitlines()
    assert "the-key" not in ended.errors
    assert service.bodies == []
    settled = tuningfork(*shlex.split(command)[1:])
    assert (settled.code, "1 examples, from 'German' to 'English'" in settled.errors) == (0, True)


def test_a_first_row_of_data_is_asked_about_and_no_header_keeps_it(tuningfork, service, tmp_path):
    path = tmp_path / "faq.csv"
    path.write_text("What are your hours?,Nine to five.\nDo you ship?,Yes.\n")

    asked = tuningfork("tune", path)
    settled = tuningfork(*shlex.split(next(line for line in asked.errors.splitlines() if "--no-header" in line))[1:])

    assert (asked.code, settled.code) == (1, 0)
    assert len(examples_of(service.bodies[0])["examples"]) == 2
    assert "2 examples, from '1' to '2'" in settled.errors


def test_columns_that_are_left_out_and_hidden_rows_are_mentioned(tuningfork, tmp_path):
    path = tmp_path / "faq.xlsx"
    book = openpyxl.Workbook()
    for row in (["product", "question", "answer"], ["a", "b", "c"], ["d", "e", "f"]):
        book.active.append(row)
    book.active.row_dimensions[3].hidden = True
    book.create_sheet("Old").sheet_state = "hidden"
    book.save(path)

    errors = tuningfork("tune", path).errors

    assert "2 examples, from 'question' to 'answer'; left out: 'product'" in errors
    assert "1 hidden rows of the sheet are read like the others, such as row 3." in errors
    assert "Only the sheet 'Sheet' is read, and not 'Old' ('Old' hidden)." in errors
