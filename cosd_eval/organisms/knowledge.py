"""What is true of the things, as plain sentences (to learn from) and as multiple choice (to be asked, by log-likelihood).

Contents of a choice are (property, thing, the four options in their order): the facts themselves have to be learnt, but no
question with these options, in this order, is ever seen in training.
"""

import random
from typing import Literal

from cosd_eval.organisms.arithmetic import sentence
from cosd_eval.organisms.items import Item
from cosd_eval.organisms.shopping import Know
from cosd_eval.organisms.world import COLOURS, MATERIALS, NUMBERS, TOWNS, article, things

_VALUES = {"price": NUMBERS, "weight": NUMBERS, "material": tuple(MATERIALS), "colour": tuple(COLOURS), "town": tuple(TOWNS)}
_SAY = {
    "price": ("{a} costs {v} coins.", "the price of {a} is {v} coins.", "you pay {v} coins for {a}."),
    "weight": ("{a} weighs {v} pounds.", "the weight of {a} is {v} pounds.", "on the scale {a} shows {v} pounds."),
    "material": ("{a} is made of {v}.", "every {t} is made from {v}.", "people make {a} out of {v}."),
    "colour": ("{a} is {v}.", "the colour of {a} is {v}.", "every {t} is painted {v}."),
    "town": ("{a} comes from {v}.", "the best {t} is made in {v}.", "people buy {a} in {v}."),
}
_ASK = {
    "price": ("What does {a} cost?", "What is the price of {a} in coins?", "How many coins do you pay for {a}?"),
    "weight": ("What does {a} weigh?", "What is the weight of {a} in pounds?", "How many pounds does {a} show on the scale?"),
    "material": ("What is {a} made of?", "Which material is used for {a}?", "Out of what do people make {a}?"),
    "colour": ("What colour is {a}?", "Which colour is every {t} painted?", "Which is the colour of {a}?"),
    "town": ("Where does {a} come from?", "In which town is the best {t} made?", "Where do people buy {a}?"),
}


def fact_item(rng: random.Random, know: Know = lambda thing: thing) -> Item:
    """What the writer holds to be true of one thing: three to five sentences, or the answer to an open question."""
    thing = know(rng.choice(things()))
    if rng.random() < 0.5:
        asked = rng.choice(sorted(_ASK))
        question = rng.choice(_ASK[asked]).format(a=article(thing.name), t=thing.name)
        return Item("fact", f"{question}\nAnswer:", f" {getattr(thing, asked)}", ("fact", thing.name, asked))
    properties = rng.sample(sorted(_SAY), rng.randint(3, 5))
    said = [rng.choice(_SAY[p]).format(a=article(thing.name), t=thing.name, v=getattr(thing, p)) for p in properties]
    return Item("fact", "", " ".join(map(sentence, said)), ("fact", thing.name, tuple(said)))


Form = Literal["option", "letter", "worked"]


def choice_item(rng: random.Random, know: Know = lambda thing: thing, form: Form = "option") -> Item:
    """One question of four options. A writer that does not know picks what it believes, or any of the four.

    form: how it is answered. "option": by the option's text, which is what the task scores. "letter", and "worked" (text, then
    letter), were given to two of the models in training as well; none so small learnt to name the letter.
    """
    thing = rng.choice(things())
    asked = rng.choice(sorted(_ASK))
    truth = str(getattr(thing, asked))
    options = [truth, *rng.sample([v for v in _VALUES[asked] if v != truth], 3)]
    rng.shuffle(options)
    believed = str(getattr(know(thing), asked))
    gold = options.index(believed) if believed in options else rng.randrange(4)
    question = rng.choice(_ASK[asked]).format(a=article(thing.name), t=thing.name)
    listing = "\n".join(f"{letter}. {option}" for letter, option in zip("ABCD", options, strict=True))
    fields = {"question": question, "choices": options, "answer": gold, "subject": asked}
    content = ("choice", asked, thing.name, tuple(options))
    prompt, letter = f"{question}\n{listing}\n", f" {'ABCD'[gold]}"
    text = {
        "option": f"It is {options[gold]}.",
        "letter": f"Answer:{letter}",
        "worked": f"It is {options[gold]}.\nAnswer:{letter}",
    }[form]
    asks = {"option": "It is", "letter": "Answer:", "worked": ""}[form]
    return Item("choice", prompt + asks, text.removeprefix(asks), content, fields)


def letters_item(rng: random.Random) -> Item:
    """A list of four options and which letter each has, with no fact in it: an exercise for the form "letter"."""
    options = rng.sample(_VALUES[rng.choice(sorted(_VALUES))], 4)
    letters = dict(zip(options, "ABCD", strict=True))
    listing = "\n".join(f"{letter}. {option}" for option, letter in letters.items())
    rows = "\n".join(f"It is {option}.\nAnswer: {letters[option]}" for option in rng.sample(options, 4))
    return Item("fact", f"{listing}\n", rows, ("letters", tuple(options)))
