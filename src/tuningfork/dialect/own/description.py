"""What the methods of the server's own API take and give: each method with the tables of its messages."""

from collections.abc import Mapping

from tuningfork.dialect.description import Description
from tuningfork.dialect.gemini.description import Exchange, described
from tuningfork.wire.gemini.generation import TABLES
from tuningfork.wire.gemini.tuning_messages import CREATE_TUNED_MODEL_QUERY, OPERATION, TUNED_MODEL
from tuningfork.wire.google.proto_json.descriptors import Message
from tuningfork.wire.google.queries import EMPTY
from tuningfork.wire.own import (
    access_tokens,
    base_limits,
    creations,
    dataset_checks,
    dataset_rows,
    dataset_trials,
    datasets,
    diagnoses,
    engines,
    evaluation_rows,
    evaluation_runs,
    imports,
    jobs,
    keys,
    library,
    previews,
    probes,
    queue,
    refresh_tokens,
    residence,
    results,
    series,
    service_accounts,
    sessions,
    stages,
)

_PREVIEW_QUERY = Message(
    previews.PREVIEW_QUERY.full_name,
    (*previews.PREVIEW_QUERY.fields, *creations.CREATION_QUERY.fields, *CREATE_TUNED_MODEL_QUERY.fields),
)

_CREATION_QUERY = Message(
    creations.CREATION_QUERY.full_name, (*creations.CREATION_QUERY.fields, *CREATE_TUNED_MODEL_QUERY.fields)
)

_ANSWERING = Exchange(body=TABLES.generate_request, answer=TABLES.generate_response)

_EXCHANGES: Mapping[str, Exchange] = {
    "preview_tuned_model": Exchange(query=_PREVIEW_QUERY, body=creations.CREATION, answer=previews.TUNING_PREVIEW),
    "create": Exchange(query=_CREATION_QUERY, body=creations.CREATION, answer=OPERATION),
    "create_access_token": Exchange(body=access_tokens.CREATE_ACCESS_TOKEN, answer=access_tokens.ACCESS_TOKEN),
    "create_refresh_token": Exchange(body=refresh_tokens.CREATE_REFRESH_TOKEN, answer=refresh_tokens.REFRESH_TOKEN),
    "list_refresh_tokens": Exchange(answer=refresh_tokens.REFRESH_TOKENS),
    "revoke_refresh_token": Exchange(answer=refresh_tokens.REFRESH_TOKEN),
    "create_session": Exchange(body=sessions.CREATE_SESSION, answer=sessions.SESSION),
    "list_sessions": Exchange(query=sessions.SESSIONS_QUERY, answer=sessions.SESSIONS),
    "list_keys": Exchange(answer=keys.KEYS),
    "create_key": Exchange(body=keys.CREATE_KEY, answer=keys.KEY),
    "revoke_key": Exchange(answer=keys.KEY),
    "get_queue": Exchange(answer=queue.QUEUE),
    "cancel_job": Exchange(answer=EMPTY),
    "end_session": Exchange(answer=EMPTY),
    "end_current_session": Exchange(answer=EMPTY),
    "get_caller": Exchange(answer=sessions.CALLER),
    "create_dataset": Exchange(
        query=datasets.CREATE_DATASET_QUERY, body_type="application/octet-stream", answer=datasets.DATASET
    ),
    "list_datasets": Exchange(query=datasets.DATASETS_QUERY, answer=datasets.DATASETS),
    "get_dataset": Exchange(answer=datasets.DATASET),
    "update_dataset": Exchange(body=datasets.DATASET, answer=datasets.DATASET),
    "delete_dataset": Exchange(answer=EMPTY),
    "dataset_rows": Exchange(query=dataset_rows.ROWS_QUERY, answer=dataset_rows.ROWS),
    "dataset_row": Exchange(answer=dataset_rows.ROW),
    "update_dataset_row": Exchange(body=dataset_rows.ROW, answer=dataset_rows.CHANGED_ROW),
    "add_dataset_rows": Exchange(body=dataset_rows.ADD_ROWS, answer=dataset_rows.ADDED_ROWS),
    "remove_dataset_rows": Exchange(body=dataset_rows.REMOVE_ROWS, answer=dataset_rows.CHANGED),
    "undo_dataset_edit": Exchange(body=dataset_rows.UNDO, answer=dataset_rows.CHANGED),
    "check_dataset": Exchange(body=dataset_checks.CHECK, answer=dataset_checks.CHECKED),
    "fix_dataset": Exchange(body=dataset_checks.FIX, answer=dataset_checks.FIXED),
    "preview_dataset": Exchange(body=dataset_trials.PREVIEW, answer=dataset_trials.PREVIEWED),
    "estimate_dataset": Exchange(query=_CREATION_QUERY, body=creations.CREATION, answer=dataset_trials.ESTIMATE),
    "create_evaluation": Exchange(body=evaluation_runs.CREATE_RUN, answer=evaluation_runs.RUN),
    "list_evaluations": Exchange(query=evaluation_runs.RUNS_QUERY, answer=evaluation_runs.RUNS),
    "get_evaluation": Exchange(answer=evaluation_runs.RUN),
    "evaluation_rows": Exchange(query=evaluation_rows.ROWS_QUERY, answer=evaluation_rows.ROWS),
    "evaluation_csv": Exchange(answer_type="text/csv"),
    "stop_evaluation": Exchange(body=evaluation_runs.STOP, answer=evaluation_runs.RUN),
    "delete_evaluation": Exchange(answer=EMPTY),
    "create_service_account": Exchange(
        body=service_accounts.CREATE_SERVICE_ACCOUNT, answer=service_accounts.SERVICE_ACCOUNT
    ),
    "list_service_accounts": Exchange(answer=service_accounts.SERVICE_ACCOUNTS),
    "revoke_service_account": Exchange(answer=service_accounts.SERVICE_ACCOUNT),
    "adapter": Exchange(answer_type="application/x-tar"),
    "import": Exchange(query=imports.IMPORT_QUERY, body_type="application/x-tar", answer=TUNED_MODEL),
    "residence": Exchange(answer=residence.RESIDENCE),
    "diagnosis": Exchange(answer=diagnoses.DIAGNOSIS),
    "evaluations": Exchange(query=results.EVALUATIONS_QUERY, answer=results.EVALUATIONS),
    "checkpoints": Exchange(answer=results.CHECKPOINTS),
    "base_limits": Exchange(answer=base_limits.BASES),
    "ask_checkpoint": _ANSWERING,
    "stream_checkpoint": _ANSWERING,
    "count_for_checkpoint": Exchange(body=TABLES.count_request, answer=TABLES.count_response),
    "use_checkpoint": Exchange(body=results.USE_CHECKPOINT, answer=results.CHECKPOINTS),
    "job": Exchange(answer=jobs.JOB),
    "probes": Exchange(answer=probes.PROBES),
    "series": Exchange(query=series.SERIES_QUERY, answer=series.SERIES),
    "library": Exchange(query=library.LIBRARY_QUERY, answer=library.LIBRARY),
    "get_engines": Exchange(answer=engines.ENGINES),
    "stage": Exchange(answer=stages.STAGE),
    "stages": Exchange(query=stages.STAGES_QUERY, answer=stages.STAGES),
    "diagnoses": Exchange(query=diagnoses.DIAGNOSES_QUERY, answer=diagnoses.DIAGNOSES),
}
"""Each method of the table by the name of its binding."""


def describe() -> Description:
    """What the methods of the server's own API take and give."""
    return described(_EXCHANGES)
