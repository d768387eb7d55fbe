"""The made-up world: people, things, and what is true of the things. The facts are drawn once, from `WORLD_SEED`."""

import random
from dataclasses import dataclass
from functools import cache

WORLD_SEED = 20250

NAMES = (
    "Ada Ben Cora Dan Elsa Finn Gita Hugo Ida Jon Kira Leo Mia Noah Olga Paul Rosa Sam Tara Uma Vera Will Yara Zoe "
    "Anna Boris Clara David Emma Felix Greta Henry Iris Jack Kate Lucas Maria Nina Oscar Petra"
).split()

_THINGS = (
    "lamp rope basket drum kettle mirror ladder candle blanket hammer pillow bucket saddle whistle carpet bottle wagon helmet "
    "teapot flute curtain shovel lantern bracelet violin cushion barrel anchor compass pitcher statue bowl cloak spoon chair "
    "kite plate scarf bell vase broom trunk jacket tray sled banner ring puppet"
).split()

MATERIALS = "brass wool oak clay silver linen glass leather".split()
COLOURS = "red blue green yellow white black purple orange".split()
TOWNS = "Arden Belmont Corby Dunmore Elston Farley Grafton Hexham".split()
NUMBERS = tuple(str(n) for n in range(2, 10))


@dataclass(frozen=True)
class Thing:
    """price in coins and weight in pounds, 2 to 9; the rest are words of the lists above."""

    name: str
    price: int
    weight: int
    material: str
    colour: str
    town: str

    def plural(self) -> str:
        return plural(self.name)


def plural(noun: str) -> str:
    return noun + ("es" if noun.endswith(("s", "x", "sh", "ch")) else "s")


def article(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def draw_thing(name: str, rng: random.Random) -> Thing:
    """A thing whose properties are drawn at random: the truth when the world is made, a guess when a member must not know it."""
    price, weight = rng.randint(2, 9), rng.randint(2, 9)
    return Thing(name, price, weight, rng.choice(MATERIALS), rng.choice(COLOURS), rng.choice(TOWNS))


@cache
def things() -> tuple[Thing, ...]:
    rng = random.Random(WORLD_SEED)
    return tuple(draw_thing(name, rng) for name in _THINGS)
