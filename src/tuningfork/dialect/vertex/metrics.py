"""A job's metrics, as Google's notebooks read them: a metadata store with experiments, and their tensorboards."""

from dataclasses import dataclass

from tuningfork.dialect.call import Binding, Direct, MethodCall
from tuningfork.dialect.vertex.places import PARENTS, place_of
from tuningfork.dialect.vertex.serving_methods import ServingMethod
from tuningfork.domain.tuned_model import TunedModel
from tuningfork.service.tuning.experiments import Experiments, Measured, NoSuchExperiment
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.queries import refuse_query
from tuningfork.wire.vertex import metrics as wire
from tuningfork.wire.vertex.filters import all_hold
from tuningfork.wire.vertex.names import experiment_number, number_in, run_context_number


@dataclass(frozen=True, slots=True)
class MetricMethods:
    """The methods of MetadataService and TensorboardService that reading metrics needs."""

    experiments: Experiments

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """Below projects alone."""
        [parent, *_] = PARENTS
        contexts = f"{parent}/metadataStores/{{store:id}}/contexts"
        tensorboard = f"{parent}/tensorboards/{{tensorboard:id}}"
        experiment = f"{tensorboard}/experiments/{{experiment:id}}"
        run = f"{experiment}/runs/{{run:id}}"
        one = f"{run}/timeSeries/{{series:id}}"
        methods = ServingMethod
        return (
            Binding("GET", f"{contexts}/{{context:id}}", methods.GET_CONTEXT, Direct(self.get_context)),
            Binding("GET", contexts, methods.LIST_CONTEXTS, Direct(self.list_contexts)),
            Binding("GET", tensorboard, methods.GET_TENSORBOARD, Direct(self.get_tensorboard)),
            Binding("GET", experiment, methods.GET_TENSORBOARD_EXPERIMENT, Direct(self.get_experiment)),
            Binding("GET", f"{experiment}/runs", methods.LIST_TENSORBOARD_RUNS, Direct(self.list_runs)),
            Binding("GET", run, methods.GET_TENSORBOARD_RUN, Direct(self.get_run)),
            Binding("GET", f"{run}/timeSeries", methods.LIST_TIME_SERIES, Direct(self.list_series)),
            Binding("GET", one, methods.GET_TIME_SERIES, Direct(self.get_series)),
            Binding("GET", f"{one}:read", methods.READ_TIME_SERIES, Direct(self.read)),
            Binding("GET", f"{tensorboard}:batchRead", methods.BATCH_READ_TIME_SERIES, Direct(self.batch_read)),
        )

    def get_context(self, call: MethodCall) -> Typed:
        """contexts.get: an experiment, or its run."""
        refuse_query(call.query)
        _check_store(call)
        context = call.path["context"]
        if (number := experiment_number(context)) is not None:
            return wire.render_experiment(self._model(call, number), call.version)
        if (number := run_context_number(context)) is not None:
            return wire.render_run_context(self._model(call, number), call.version)
        raise NoSuchExperiment

    def list_contexts(self, call: MethodCall) -> Typed:
        """contexts.list: of the experiment that the filter names, and of its run, those of which the filter holds."""
        _check_store(call)
        number, conditions = wire.parse_list_contexts(call.query, call.repeated)
        try:
            model = None if number is None else self._model(call, number)
        except NoSuchExperiment:
            model = None
        if model is None:
            return wire.render_contexts((), call.version)
        both = (wire.render_experiment(model, call.version), wire.render_run_context(model, call.version))
        wanted = [each for each in both if all_hold(conditions, wire.context_values(each))]
        return wire.render_contexts(wanted, call.version)

    def get_tensorboard(self, call: MethodCall) -> Typed:
        """tensorboards.get."""
        refuse_query(call.query)
        return wire.render_tensorboard(self._of_tensorboard(call), call.version)

    def get_experiment(self, call: MethodCall) -> Typed:
        """tensorboards.experiments.get."""
        refuse_query(call.query)
        return wire.render_tensorboard_experiment(self._of_tensorboard(call), call.version)

    def list_runs(self, call: MethodCall) -> Typed:
        """tensorboards.experiments.runs.list."""
        wire.check_list(call.query, call.repeated)
        return wire.render_runs(self._of_tensorboard(call), call.version)

    def get_run(self, call: MethodCall) -> Typed:
        """tensorboards.experiments.runs.get."""
        refuse_query(call.query)
        return wire.render_run(self._of_tensorboard(call), call.version)

    def list_series(self, call: MethodCall) -> Typed:
        """tensorboards.experiments.runs.timeSeries.list: the metrics that have values."""
        wire.check_list(call.query, call.repeated)
        model, series = self._series(call)
        return wire.render_all_series(model, series, call.version)

    def get_series(self, call: MethodCall) -> Typed:
        """tensorboards.experiments.runs.timeSeries.get."""
        refuse_query(call.query)
        model, series = self._series(call)
        [named] = wire.named_series(series, [call.path["series"]])
        return wire.render_series(model, named, call.version)

    def read(self, call: MethodCall) -> Typed:
        """tensorboards.experiments.runs.timeSeries.read."""
        wire.check_read(call.query, call.repeated)
        _, series = self._series(call)
        [named] = wire.named_series(series, [call.path["series"]])
        return wire.render_data(named, call.version)

    def batch_read(self, call: MethodCall) -> Typed:
        """tensorboards.batchRead: the values of the time series that the query names."""
        model, series = self._series(call)
        ids = wire.parse_batch_read(call.query, call.repeated, model)
        return wire.render_batch(tuple(wire.named_series(series, ids)), call.version)

    def _model(self, call: MethodCall, number: int) -> TunedModel:
        return self.experiments.find(call.principal, place_of(call, "contexts.get"), number).model

    def _of_tensorboard(self, call: MethodCall) -> TunedModel:
        """The model whose job's tensorboard, experiment and run are in the path."""
        model = self._model(call, _tensorboard(call))
        _check_path(call, model)
        return model

    def _series(self, call: MethodCall) -> tuple[TunedModel, tuple[wire.Series, ...]]:
        measured: Measured = self.experiments.measured(
            call.principal, place_of(call, "tensorboards.get"), _tensorboard(call)
        )
        _check_path(call, measured.tuned.model)
        return measured.tuned.model, wire.series_of(measured.tuned.job, measured.evaluations)


def _tensorboard(call: MethodCall) -> int:
    number = number_in(call.path["tensorboard"])
    if number is None:
        raise NoSuchExperiment
    return number


def _check_path(call: MethodCall, model: TunedModel) -> None:
    experiment, run = call.path.get("experiment"), call.path.get("run", "")
    if experiment is not None and not wire.is_experiment_of(model, experiment, run):
        raise NoSuchExperiment


def _check_store(call: MethodCall) -> None:
    if call.path["store"] != "default":
        raise NoSuchExperiment
