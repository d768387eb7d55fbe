"""`cosd-eval bench`: our speed beside what people use today, measured in one run."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cosd_eval.commands import options
from cosd_eval.errors import ConfigError, StoreError

METHODS = "draft,assistant,speculative,average,cosd-rule"


def bench(
    pair: Annotated[str, typer.Option("--pair", help="A shipped pair's name, or a YAML file.")] = "capacity",
    tasks: Annotated[str, typer.Option(help="Tasks that give the prompts, comma between.")] = "builtin_arith",
    methods: Annotated[str, typer.Option(help="Methods to time, comma between.")] = METHODS,
    limit: Annotated[int, typer.Option(min=1, help="Documents of each task.")] = 16,
    max_new_tokens: Annotated[int, typer.Option(min=1)] = 128,
    batches: Annotated[str, typer.Option(help="Batch sizes, comma between.")] = "1,4,16",
    few: Annotated[int, typer.Option(min=1, help="Prompts at batch sizes below this (rates are compared).")] = 4,
    repeats: Annotated[int, typer.Option(min=1)] = 3,
    num_fewshot: Annotated[int | None, typer.Option(min=0, help="Few-shot examples; the task's own number if not given.")] = None,
    peers: Annotated[bool, typer.Option(help="Time transformers, lm-eval and the naive reference too.")] = True,
    data_dir: options.DataDir = None,
    model_dir: options.ModelDir = None,
    dtype: options.Dtype = None,
    device: options.Device = None,
    out: Annotated[Path, typer.Option(help="The JSON file to write.")] = Path("benchmarks/bench.json"),
) -> None:
    """Time each method, today's ways to do the same, and the bare forward passes, side by side on the same prompts."""
    if not all(b.isdigit() and int(b) for b in options.split_names(batches)):
        raise ConfigError(f"--batches {batches} should be numbers, comma between: for example 1,4,16.")
    sizes = [int(b) for b in options.split_names(batches)]
    specs = options.parse_methods(methods, None)
    options.existing_folder(data_dir, "--data-dir or COSD_DATA_DIR")
    options.prepare_libraries()

    from cosd_eval.bench import measure
    from cosd_eval.bench.work import work_of
    from cosd_eval.decoding.pair import Pair, load_plain
    from cosd_eval.evaluation.runner import quiet
    from cosd_eval.evaluation.tasks import TaskOptions

    with quiet():
        ours = Pair.load(pair, model_dir=model_dir, dtype=dtype, device=device)
        plain = [load_plain(s, model_dir, dtype, device) for s in ours.spec.members] if peers else []
        content: dict[str, Any] = {
            "pair": ours.identity(),
            "machine": measure.machine(),
            "max_new_tokens": max_new_tokens,
            "tasks": {},
        }
        texts = [f"{pair} on {content['machine']['gpu'] or content['machine']['processor']}, {ours.members[0].dtype}"]
        asked = TaskOptions(data_dir, num_fewshot)
        base = measure.in_use()  # before any run, whose rows stay
        for work in work_of(ours, options.split_names(tasks), limit, max_new_tokens, asked):
            systems = measure.systems(ours, plain, work, specs, sizes, few)
            measure.ours(ours, work.first(1), specs, sizes[:1], 1)[-1].run()  # warm-up
            outcomes = measure.run(ours, systems, repeats, base, lambda line: typer.echo(line, err=True))
            told = measure.summary(ours.spec.name, work, systems, outcomes)
            content["tasks"][work.task] = {**told, "repeats": repeats, "num_fewshot": num_fewshot}
            texts.append(_text(work.task, content["tasks"][work.task]))
            typer.echo(texts[-1])
            try:
                measure.write(out, content, "\n\n".join(texts))
            except OSError as e:
                raise StoreError(f"{out} cannot be written ({e.strerror}): choose another --out.") from None
    typer.echo(f"Kept in {out} and {out.with_suffix('.txt')}.")


def _text(task: str, told: dict[str, Any]) -> str:
    """The rows, then ours ÷ peers, then where tokens had to be equal."""
    rate = f"{told['unit']}_per_second"
    lines = [f"{task}: {told['requests']} requests, medians of {told['repeats']}"]
    heads = {
        "batch": 6, "requests": 10, f"{told['unit']}/s": 12, "first s": 9, "÷ floor": 9, "rounds": 8, "calls/tok": 10,
        "thrown": 8, "MB": 7, "rows MB": 9,
    }  # fmt: skip
    lines.append(f"{'system':<54}" + "".join(f"{word:>{width}}" for word, width in heads.items()))
    for row in told["rows"]:
        cells = [
            f"{row['system']:<54}{row['batch']:>6}{row['requests']:>10}{row[rate]:>12.2f}",
            _cell(row["first_token_seconds"], 9, ".2f"),
            _cell(row["overhead_over_floor"], 9, ".3f"),
            _cell(row.get("rounds"), 8, "d"),
            _cell(row.get("assistant_calls_per_token"), 10, ".3f"),
            _cell(row.get("draft_thrown_away"), 8, ".0%"),
            _cell(row["memory_over_weights_mb"], 7, ".0f"),
            _cell(row["rows_mb"], 9, ".0f"),
        ]
        lines.append("".join(cells))
    for r in told["ratios"]:
        aim = "" if r["wanted"] is None else f" (aim {r['wanted']:g}: {'reached' if r['ratio'] >= r['wanted'] else 'MISSED'})"
        lines.append(f"{r['ours']} ÷ {r['peer']}: {r['ratio']:.2f} ×{aim}")
    lines += told["beyond"]
    for e in told["equal_tokens"]:
        where = f" (first difference at token {', '.join(map(str, e['differ']))})" if e["differ"] else ""
        lines.append(f"same tokens: {e['a']} and {e['b']}: {e['equal']} of {e['of']}{where}")
    return "\n".join(lines)


def _cell(value: Any, width: int, form: str) -> str:
    return " " * width if value is None else f"{value:>{width}{form}}"
