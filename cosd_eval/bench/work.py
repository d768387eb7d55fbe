"""What is timed: prompts of a task as lm-eval asks them, as ids of the pair's vocabulary."""

from dataclasses import dataclass, replace

from cosd_eval.decoding.loop import Request
from cosd_eval.decoding.pair import Pair
from cosd_eval.decoding.scoring import ScoreRequest
from cosd_eval.errors import ConfigError
from cosd_eval.evaluation.adapter import Encoder, generation_settings
from cosd_eval.evaluation.tasks import TaskOptions, load


@dataclass(frozen=True)
class Work:
    """One task's requests: to write after, or to score. instances: the same as lm-eval's own, for its `hf` model."""

    task: str
    generate: list[Request]
    score: list[ScoreRequest]
    instances: list[object]

    def first(self, count: int) -> "Work":
        return replace(self, generate=self.generate[:count], score=self.score[:count], instances=self.instances[:count])


def work_of(pair: Pair, names: tuple[str, ...], limit: int, max_new_tokens: int, options: TaskOptions) -> list[Work]:
    """The first `limit` documents of each task (of each subject of a group). Raises UserErrors."""
    if not pair.shared:
        raise ConfigError("Members without a shared vocabulary cannot be compared here: choose another pair.")
    encoder = Encoder(pair.tokenizer, pair.max_length)
    found = []
    for task in load(names, options):
        task.reseed(options.seed)
        work = Work(task.label, [], [], [])
        for leaf in task.tasks.values():
            leaf.build_all_requests(limit=limit)
            for instance in leaf.instances:
                if instance.request_type == "generate_until":
                    _, stop = generation_settings(instance)
                    ids = encoder.prompt(instance.args[0], max_new_tokens)
                    work.generate.append(Request(tuple(ids), max_new_tokens, tuple(stop)))
                    instance.arguments = (instance.args[0], {**instance.args[1], "max_gen_toks": max_new_tokens})
                elif instance.request_type == "loglikelihood":
                    work.score.append(encoder.score_request(*encoder.pair(*instance.args[:2])))
                else:
                    raise ConfigError(
                        f"Task {task.label!r} asks for {instance.request_type}, which is not timed: choose another."
                    )
                work.instances.append(instance)
        found.append(work)
    return found
