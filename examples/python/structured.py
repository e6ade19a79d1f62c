"""An answer as an object: python structured.py MODEL.gguf"""

import dataclasses
import sys
from typing import Literal

import carat


@dataclasses.dataclass
class Recipe:
    name: str
    minutes: int
    course: Literal["starter", "main", "dessert"]


with carat.Model.load(sys.argv[1]) as model:
    conversation = model.conversation(temperature=0.5, seed=1)
    print(conversation.respond("Name a recipe with apples, as JSON.", schema=Recipe, max_tokens=200))
