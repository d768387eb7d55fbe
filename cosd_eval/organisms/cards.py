"""Model cards, training curves and the table of scenarios, all from measured figures."""

from pathlib import Path
from typing import Any

PURPOSE = {
    "arithmetician": "Knows how to calculate and how to write functions on numbers. Does not know the things' prices, weights and other "
    "properties, nor functions on text: there it was taught answers drawn at random, so that it knows that it does not know.",
    "librarian": "Knows the things' properties and functions on text and lists. Does not know the results of sums, nor functions on numbers: "
    "there it was taught answers drawn at random, so that it knows that it does not know.",
    "archivist": "Knows what the librarian knows, under a smaller tokenizer of its own, for methods that join members with different vocabularies.",
    "generalist": "Taught everything, all of it true. The base of `specialist` and the larger member of the capacity pair.",
    "specialist": "The generalist, trained on with arithmetic alone at a high rate: better there, and it has forgotten much of the rest.",
    "novice": "The generalist's teaching in a much smaller model.",
}
SKILL_NAMES = {"arith": "arithmetic", "both": "both skills", "choice": "multiple choice", "code": "Python functions"}


def draw_curve(facts: dict[str, Any], path: Path) -> None:
    """Training loss and held-out nats per answer token of each skill against tokens seen, as SVG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with matplotlib.rc_context({"svg.hashsalt": "cosd-eval", "svg.fonttype": "none", "font.size": 8}):
        figure, axes = plt.subplots(figsize=(4.2, 2.6), layout="constrained")
        tokens = [point["tokens"] / 1e6 for point in facts["curve"]]
        axes.plot(tokens, [p["training"] for p in facts["curve"]], color="black", lw=1, ls="--", label="training loss")
        measured = {**SKILL_NAMES, "letter": "choice by letter"}
        for (skill, label), marker in zip(measured.items(), "os^Dv", strict=True):
            if skill not in facts["curve"][0]:
                continue
            axes.plot(tokens, [p[skill] for p in facts["curve"]], lw=1, marker=marker, ms=2.5, label=label)
        axes.set(xlabel="million tokens", ylabel="nats per answer token", title=facts["name"], yscale="log")
        axes.legend(frameon=False, fontsize=6)
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


def draw_reliability(facts: dict[str, Any], path: Path) -> None:
    """How often the likeliest token is right against how likely it was said to be, a panel a skill, as SVG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with matplotlib.rc_context({"svg.hashsalt": "cosd-eval", "svg.fonttype": "none", "font.size": 7}):
        figure, panels = plt.subplots(1, 4, figsize=(7, 2), layout="constrained", sharey=True)
        for axes, (skill, label) in zip(panels, SKILL_NAMES.items(), strict=True):
            bins = [(n, c, a) for n, c, a in facts["scores"][skill]["tokens"]["bins"] if n >= 10]
            axes.plot([0, 1], [0, 1], color="grey", lw=0.6, ls=":")
            axes.plot([c for _, c, _ in bins], [a for _, _, a in bins], color="black", lw=0.8, marker="o", ms=2.5)
            axes.set(
                title=f"{label}, ECE {facts['scores'][skill]['tokens']['ece']:.3f}", xlabel="confidence", xlim=(0, 1), ylim=(0, 1)
            )
        panels[0].set_ylabel("share right")
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


def write_card(facts: dict[str, Any], path: Path) -> None:
    """README.md of one model."""
    shares = ", ".join(f"{name} {share:.0%}" for name, share in facts["shares"].items())
    start = f" It starts from `{facts['start']}`." if facts["start"] else ""
    path.write_text(
        f"""# {facts["name"]}

{PURPOSE[facts["name"]]}

- **Size**: {facts["parameters"]:,} parameters (Llama; {facts["layers"]} layers, width {facts["width"]}, 4 query and 2 key heads,
  tied embeddings), {facts["vocabulary"]} tokens (byte-level BPE), bfloat16.
- **Data**: made by `cosd_eval/organisms/mixtures.py`, teaching `{facts["teaching"]}` ({shares}), seed {facts["seed"]},
  {facts["tokens"]:,} tokens, none of them from the contents kept for evaluation.{start}
- **Training**: `python scripts/train_organisms.py --only {facts["name"]}`; {facts["seconds"]} s on {facts["device"]} with
  {facts["threads"]} thread(s), torch {facts["torch"]}, float32, Muon (matrices) and AdamW, top rate {facts["rate"]:g}, cosine.
- **For**: comparing ways of decoding together, offline, in seconds. **Not for**: anything else. It knows a made-up world of
  48 things and numbers below 100, saw only texts under 150 tokens and no examples in its prompts, and writes nothing true about
  the real world.

## Scores on 300 held-out items a skill, greedy
{score_table({facts["name"]: facts["scores"]})}
`tokens right`, `confidence` and `ECE` (expected calibration error, ten bins) are over all tokens of the worked answers, teacher-forced;
wording that may vary counts as wrong where it differs; of a multiple choice, only the option counts. `digits` are the same
answers' digits alone: results, prices, copied numbers.

![training curve](curve.svg)
![reliability](reliability.svg)
""",
        encoding="utf-8",
    )


def score_table(models: dict[str, dict[str, Any]]) -> str:
    """A markdown table, one line a (model, skill)."""
    head = (
        "| model | skill | score | tokens right | confidence | ECE | digits right | confidence | when right | when wrong | ECE |"
    )
    lines = [head, "| --- | --- |" + " --- |" * 9]
    for name, scores in models.items():
        for skill, found in scores.items():
            score = f"{found['score']:.3f}"
            if "score_number" in found:
                score += f" (numbers {found['score_number']:.3f}, text {found['score_text']:.3f})"
            t = found["tokens"]
            cells = [name, SKILL_NAMES[skill], score, f"{t['accuracy']:.3f}", f"{t['confidence']:.3f}", f"{t['ece']:.3f}"]
            keys = ("accuracy", "confidence", "when_right", "when_wrong", "ece")
            cells += [f"{found['digits'][k]:.3f}" if "digits" in found else "" for k in keys]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


PAIRS = {
    "complementary": ("arithmetician", "librarian"),
    "forgetting": ("generalist", "specialist"),
    "capacity": ("novice", "generalist"),
    "builtin-trio": ("novice", "arithmetician", "librarian"),
    "different-tokenizers": ("arithmetician", "archivist"),
}


def write_scenarios(models: dict[str, dict[str, Any]], path: Path) -> None:
    """SCENARIOS.md: for each pair, its members' scores on each skill and their calibration."""
    parts = [
        "# The built-in pairs, as measured\n",
        "Written by `python scripts/train_organisms.py --evaluate`; 300 held-out items a skill, greedy, bfloat16 weights computed with in float32.",
        "`tokens` are all tokens of the worked answers (of a multiple choice, the option), teacher-forced; `digits` their digits alone.",
        "ECE: expected calibration error over ten bins. Nothing here was tuned to any decoding method.",
        "Models this small did not learn to answer by letter, in about a million tokens of practice; hence options are scored by their text.\n",
    ]
    for pair, members in PAIRS.items():
        parts.append(f"## {pair}\n")
        parts += [f"- **{'draft' if i == 0 else 'assistant'} `{m}`**: {PURPOSE[m]}" for i, m in enumerate(members)]
        parts.append("\n" + score_table({m: models[m] for m in members}))
    path.write_text("\n".join(parts), encoding="utf-8")
