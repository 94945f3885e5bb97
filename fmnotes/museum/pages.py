"""The pages of a museum's catalogue: one grammar that writes them from facts, and that scores a page found alone.

Each page is a title line, which names the museum, and a paragraph. Every sentence of fact names its subject and ends
in its value ("The red star was made by Talo Brenik."), so an answer can restate it word for word. The order of the
facts, the wording of each and the chatter around them vary. The variables of the grammar are the facts of the
catalogue: with all of them given it writes *this* page; with none it says how likely the page is among all pages of
all museums of a split.
"""

from functools import cache
from itertools import permutations

from fmnotes.museum.dice import Dice
from fmnotes.museum.grammar import Grammar, Words
from fmnotes.museum.names import names
from fmnotes.museum.world import PAIRS

KINDS = {"exhibit": 48, "maker": 24, "city": 16, "wing": 8, "museum": 1}  # how many pages of each a museum has

TITLES = {
    "exhibit": "The {museum:museum}: the {exhibit:exhibit}",
    "maker": "The {museum:museum}: {maker:person}",
    "city": "The {museum:museum}: {city:city}",
    "wing": "The {museum:museum}: the {wing:wing}",
    "museum": "The {museum:museum}",
}

# kind -> fact -> its wordings. No fact stands on two kinds of page, so the evidence for a question is unique.
WORDINGS = {
    "exhibit": {
        "title": (
            "The {exhibit} is titled {title:title}.",
            "The {exhibit} bears the title {title:title}.",
            "On the label beside the {exhibit} stands the title {title:title}.",
            "Some smile when they read that the {exhibit} is titled {title:title}.",
        ),
        "maker": (
            "The {exhibit} was made by {maker:person}.",
            "The maker of the {exhibit} was {maker:person}.",
            "The {exhibit} is the work of {maker:person}.",
            "Nobody doubts that the {exhibit} was made by {maker:person}.",
        ),
        "year": (
            "The {exhibit} dates from {year:year}.",
            "The {exhibit} was finished in {year:year}.",
            "After a long winter the {exhibit} was finished in {year:year}.",
            "A small mark on the back proves that the {exhibit} dates from {year:year}.",
        ),
        "material": (
            "The {exhibit} is made of {material:material}.",
            "The {exhibit} consists of {material:material}.",
            "Tap it gently and you hear that the {exhibit} is made of {material:material}.",
            "Like so many things of its time, the {exhibit} consists of {material:material}.",
        ),
        "city": (
            "The {exhibit} was made in {city:city}.",
            "The {exhibit} comes from {city:city}.",
            "The workshop that made the {exhibit} stood in {city:city}.",
            "On a cart full of straw, the {exhibit} came from {city:city}.",
        ),
        "wing": (
            "The {exhibit} stands in the {wing:wing}.",
            "The {exhibit} is kept in the {wing:wing}.",
            "Follow the arrows, for the {exhibit} stands in the {wing:wing}.",
            "Since the great storm the {exhibit} has been kept in the {wing:wing}.",
        ),
        "code": (
            "The {exhibit} carries the accession code {series:series}-{number:number}.",
            "The accession code of the {exhibit} is {series:series}-{number:number}.",
            "In the ledger the {exhibit} has the accession code {series:series}-{number:number}.",
        ),
    },
    "maker": {
        "birthplace": (
            "{maker} was born in {birthplace:city}.",
            "The birthplace of {maker} was {birthplace:city}.",
            "On a stormy night {maker} was born in {birthplace:city}.",
        ),
        "teacher": (
            "{maker} was taught by {teacher:person!maker}.",
            "The teacher of {maker} was {teacher:person!maker}.",
            "{maker} learned everything from {teacher:person!maker}.",
        ),
        "age": (
            "{maker} lived to the age of {age:age}.",
            "{maker} reached the age of {age:age}.",
            "In spite of the dust, {maker} reached the age of {age:age}.",
        ),
        "tool": (
            "The favourite tool of {maker} was {tool:tool|a}.",
            "{maker} never travelled without {tool:tool|a}.",
            "For most things {maker} used {tool:tool|a}.",
        ),
    },
    "city": {
        "river": (
            "{city} lies on the river {river:river}.",
            "The river that flows through {city} is the {river:river}.",
            "On summer evenings the people of {city} swim in the river {river:river}.",
        ),
        "country": (
            "{city} is a city in {country:country}.",
            "{city} belongs to the country of {country:country}.",
            "Schoolchildren learn that {city} belongs to the country of {country:country}.",
        ),
        "founded": (
            "{city} was founded in {founded:founded}.",
            "The people of {city} laid its first stone in {founded:founded}.",
            "A crooked tower recalls that {city} was founded in {founded:founded}.",
        ),
        "ware": (
            "{city} is known for its {ware:ware}.",
            "{city} sells nothing as gladly as its {ware:ware}.",
            "Travellers come to {city} for its {ware:ware}.",
        ),
    },
    "wing": {
        "floor": (
            "The {wing} is on the {floor:floor}.",
            "The {wing} takes up half of the {floor:floor}.",
            "To reach the {wing}, take the stairs to the {floor:floor}.",
        ),
        "paint": (
            "The walls of the {wing} are painted {paint:paint}.",
            "The {wing} has walls of {paint:paint}.",
            "After much debate the walls of the {wing} were painted {paint:paint}.",
        ),
        "curator": (
            "The curator of the {wing} is {curator:person}.",
            "The {wing} has been given to the curator {curator:person}.",
            "Questions about the {wing} are answered by its curator, {curator:person}.",
        ),
        "view": (
            "The windows of the {wing} look out on {view:view}.",
            "From its windows the {wing} looks out on {view:view}.",
            "Many stop in the {wing} to look out on {view:view}.",
        ),
    },
    "museum": {
        "founder": (
            "The {museum} was founded by {founder:person}.",
            "The founder of the {museum} was {founder:person}.",
            "With borrowed money the {museum} was founded by {founder:person}.",
        ),
        "home": (
            "The {museum} stands in {home:city}.",
            "The home of the {museum} is the city of {home:city}.",
            "Seen from the hill, the {museum} is the largest house in {home:city}.",
        ),
        "opened": (
            "The {museum} opened its doors in {opened:opened}.",
            "The doors of the {museum} were opened in {opened:opened}.",
            "To the sound of a brass band the {museum} opened its doors in {opened:opened}.",
        ),
        "guard": (
            "The {museum} is guarded by {guard:guard}.",
            "At night the {museum} is guarded by {guard:guard}.",
            "Thieves avoid the {museum}, for it is guarded by {guard:guard}.",
        ),
    },
}

# Sentences that stand before or after the facts, or not at all. They hold nothing that a question asks for.
CHATTER = {
    "maker": (
        ("Nobody ever saw {maker} in a hurry.", "Few hands were as steady as those of {maker}."),
        ("Friends of {maker} recall long suppers and short speeches.", "It is said that {maker} hummed at work."),
    ),
    "city": (
        ("In {city} the shops close when it rains.", "All roads to {city} are lined with poplars."),
        ("The clocks of {city} have never agreed.", "Whoever has left {city} dreams of coming back."),
    ),
    "wing": (
        ("The floorboards of the {wing} creak in three places.", "It is always a little cooler in the {wing}."),
        ("A bench in the {wing} invites the tired.", "Children are fond of the echo in the {wing}."),
    ),
    "museum": (
        ("The {museum} has forty-eight exhibits in eight wings.", "Entrance to the {museum} is free on rainy days."),
        ("Whoever whispers in the {museum} is heard by all.", "The soup at the {museum} is better than it looks."),
    ),
}

LISTS = {
    "material": "alabaster,amber,bone,brass,bronze,cedar,clay,copper,cork,ebony,felt,glass,granite,iron,leather,linen,"
    "marble,oak,paper,porcelain,silk,silver,slate,wax",
    "wing": "Anchor,Badger,Beaver,Clover,Compass,Cricket,Dolphin,Falcon,Feather,Fern,Fox,Hare,Heron,Ivy,Lotus,Lynx,"
    "Mirror,Moth,Nettle,Otter,Owl,Poppy,Rainbow,Raven,Salmon,Sparrow,Spider,Stork,Swallow,Thistle,Turtle,Willow",
    "tool": "awl,broom handle,chisel,compass,file,fork,goose feather,hammer,hatchet,iron comb,kitchen knife,ladle,loom,"
    "needle,oil lamp,paintbrush,pocket knife,ruler,saw,spatula,spoon,toothbrush,trowel,wooden mallet",
    "ware": "apple wine,bells,black bread,blankets,boats,bridges,candles,carpets,cherries,clocks,fireworks,"
    "ghost stories,gloves,honey,kites,lace,mustard,onion soup,organ music,pears,puppets,umbrellas,violins,wild garlic",
    "floor": "ground floor,first floor,second floor,third floor,fourth floor,fifth floor",
    "paint": "apricot,beige,burgundy,charcoal,coral,cream,indigo,khaki,magenta,maroon,mint,ochre,olive,pink,sand,"
    "turquoise",
    "view": "a bakery,a beech wood,a bowling alley,a bridge,a canal,a chapel,a courtyard,a duck pond,a football field,"
    "a herb garden,a pear tree,a market,a meadow,a playground,a railway,a rose garden,a school,a stable,"
    "a vineyard,the town hall",
    "guard": "a blind parrot,a deaf watchman,a ginger cat,a lame wolfhound,a retired boxer,a retired sergeant,"
    "a swarm of bees,a talking crow,a toothless tiger,an angry goat,an owl,five polite terriers,"
    "three ginger cats,two geese,two old soldiers,two retired boxers",
}
FIXED = {name: Words(values.split(",")) for name, values in LISTS.items()} | {
    "exhibit": Words([f"{colour} {shape}" for colour, shape in PAIRS]),
    "wing": Words([f"{name} Wing" for name in LISTS["wing"].split(",")]),
    "year": Words([str(year) for year in range(1600, 2000)]),
    "founded": Words([str(year) for year in range(1000, 1600)]),
    "opened": Words([str(year) for year in range(1850, 2000)]),
    "age": Words([str(age) for age in range(40, 100)]),
    "series": Words([a + b for a in "BCDFGHJKLMNPQRSTVWXZ" for b in "BCDFGHJKLMNPQRSTVWXZ"]),
    "number": Words([str(number) for number in range(1000, 10_000)]),
}


def page_rules() -> dict[str, list]:
    """Rule `page` says a page of any kind; a kind's rule its title, and its facts in some order amid the chatter."""
    rules: dict[str, list] = {"page": [(count, f"<{kind}>") for kind, count in KINDS.items()]}
    for kind, facts in WORDINGS.items():
        before, after = CHATTER.get(kind, ((), ()))
        rules[kind] = [TITLES[kind] + f"\n<{kind}_before><{kind}_facts><{kind}_after>"]
        rules[f"{kind}_before"] = ["", *(f"{sentence} " for sentence in before)]
        rules[f"{kind}_after"] = ["", *(f" {sentence}" for sentence in after)]
        rules |= {f"{kind}_{fact}": list(wordings) for fact, wordings in facts.items()}
        rules[f"{kind}_facts"] = _orders([f"<{kind}_{fact}>" for fact in facts])
    # An exhibit has seven facts: first who made it and when, in any order, then what and where it is, in any order.
    facts = [f"<exhibit_{fact}>" for fact in WORDINGS["exhibit"]]
    rules["exhibit_facts"] = ["<exhibit_history> <exhibit_presence>"]
    rules["exhibit_history"], rules["exhibit_presence"] = _orders(facts[:3]), _orders(facts[3:])
    return rules


def _orders(sentences: list[str]) -> list[str]:
    return [" ".join(order) for order in permutations(sentences)]


@cache
def grammar(split: str) -> Grammar:
    """The grammar of a split's pages: the rules are the same for all, the names are the split's own."""
    return Grammar(page_rules(), FIXED | names(split))


def write(kind: str, facts: dict[str, str], dice: Dice, split: str) -> str:
    """A page about these facts: its title line, a line break, its paragraph."""
    return grammar(split).sample(kind, dice, facts)[0]


def sentences(text: str) -> list[str]:
    """The sentences of a page's paragraph, each with its full stop."""
    return [sentence.rstrip(".") + "." for sentence in text.partition("\n")[2].split(". ")]


def logprob(text: str, split: str = "train") -> float:
    """log p in nats of a page drawn from all pages of all museums of a split; −∞ if no museum has such a page."""
    return grammar(split).logprob(text, "page")
