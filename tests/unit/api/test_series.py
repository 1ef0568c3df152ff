"""The losses of a job from a step on: exact, bounded, none missing and none twice for whoever asks again and again."""

PATH = "/tuningfork/v1/tunedModels/long/series"


def series_of(caller, name, query="", **options):
    answer = caller.get(f"/tuningfork/v1/{name}/series{query}", **options)
    assert answer.status_code == 200, answer.text
    return answer.json()


def steps(points):
    return [each["step"] for each in points]


class Follower:
    """Follows a series as the documentation says."""

    def __init__(self, caller, name):
        self._caller = caller
        self._name = name
        self._after = (-1, -1)
        self.training = {}
        self.validation = {}

    def poll(self):
        after, after_validation = self._after
        query = f"?afterStep={after}&afterValidationStep={after_validation}" if after >= 0 else ""
        found = series_of(self._caller, self._name, query)
        self.training = {step: loss for step, loss in self.training.items() if step <= after}
        for name, known in (("training", self.training), ("validation", self.validation)):
            known.update({each["step"]: each["meanLoss"] for each in found.get(name, ())})
