"""Names that nobody has heard: composed of parts, so that a model must read them and cannot remember them.

A name is one part of each list, put together: "Tal" + "or" = "Talor". The combinations of a list's parts are dealt to
the splits by the sum of their places, modulo eight: five remainders to training and one to each of the others. So
every part is met in training, with every remainder, but no combination of one split is ever seen in another.
"""

from functools import cache
from itertools import product

from fmnotes.museum.grammar import Words
from fmnotes.museum.world import SPLITS

Parts = tuple[tuple[str, ...], ...]


def parts(*lists: str) -> Parts:
    return tuple(tuple(one.split(",")) for one in lists)


BEGIN = "Ba,Be,Bro,Da,De,Do,Fa,Fen,Ga,Hal,Ja,Ka,Ko,La,Lo,Ma,Mi,Na,Or,Pe,Ra,Se,Ta,Vi"
GIVEN = parts(BEGIN, "bo,da,di,do,la,lia,lin,lo,mir,na,nek,no,ra,ri,ron,sha,ta,van,vi,zo")
FAMILY = parts(BEGIN, "bek,blom,dal,dric,gan,kers,kin,lak,lund,mas,nik,pell,quist,rell,sen,ski,tov,vard,vek,zin")
CITY = parts(
    BEGIN, "berg,bury,castle,dam,ford,gate,grad,haven,holm,mark,minster,mouth,pool,port,stad,stow,ton,vale,vik,wick"
)
RIVER = parts(BEGIN, "bra,bre,dour,dra,esk,gris,ine,isse,mer,nube,rne,rthe,sel,ster,thra,tis,une,va,wen,yne")
COUNTRY = parts(
    BEGIN, "donia,gard,gonia,land,laria,lonia,mania,menia,mora,nesia,nia,reland,ria,shire,sia,stan,thia,tia,via,zia"
)
INSTITUTION = parts(
    "Al,Bel,Bor,Cal,Cor,Dar,Del,Dor,El,Far,Gal,Gor,Hel,Il,Kel,Lor,Mal,Mor,Nor,Sol,Tal,Tor,Val,Vel",
    "ba,be,bi,bo,da,de,di,do,ga,ge,go,ma,me,mi,mo,na,ne,no,ta,te,ti,to,va,vi",
    "dan,dian,gan,lian,lin,man,nese,nian,nor,ran,rian,ric,ron,san,sian,tan,tian,van,vian,zan",
)
TITLE = parts(
    "A Bridge to,A Chair for,A Door for,A Lantern for,A Letter to,A Map of,A Song for,A Study of,Advice to,After,"
    "An Apology to,An Argument with,An Evening with,Before,Dreaming of,Farewell to,Homage to,In Praise of,In Search of,"
    "Laughing at,Listening to,Looking for,Lullaby for,Meeting,Memory of,News of,Notes on,Portrait of,Quarrel with,"
    "Questions for,Remembering,Return of,Shadow of,The End of,The House of,The Patience of,The Secret of,Thinking of,"
    "Waiting for,Walking with",
    "Grandmother,Monday,My Neighbours,Nobody,Rain,Silence,Snow,Sunday,Three Sisters,Two Moons,a Broken Clock,"
    "a Distant Uncle,a Forgotten Song,a Good Listener,a Lost Button,a Paper Boat,a Sleeping Giant,a Small Whale,"
    "a Stolen Hat,a Tired Horse,an Empty Chair,an Honest Thief,an Old Umbrella,the Baker,the Clockmaker,the Comet,"
    "the First Snow,the Fisherman,the Ferry,the Harbour,the Last Guest,the Lighthouse,the Night Train,the Orchard,"
    "the Philosopher,the Postman,the Sea,the Tide,the Tightrope Walker,the Weather",
)

REMAINDERS = {"train": (0, 1, 2, 3, 4), "validation": (5,), "test": (6,), "composition": (7,)}


def composed(parts: Parts, split: str, joint: str = "") -> list[str]:
    """The combinations of parts that belong to a split. ValueError if there is no such split."""
    if split not in REMAINDERS:
        raise ValueError(f"there is no split {split!r} in the museum; there are {', '.join(SPLITS)}")
    return [
        joint.join(part for _, part in combination)
        for combination in product(*(enumerate(one) for one in parts))
        if sum(place for place, _ in combination) % 8 in REMAINDERS[split]
    ]


@cache
def names(split: str) -> dict[str, Words]:
    """The domains of names in a split: person, city, river, country, museum and title, each name equally likely."""
    return {
        "person": Words([" ".join(name) for name in product(composed(GIVEN, split), composed(FAMILY, split))]),
        "city": Words(composed(CITY, split)),
        "river": Words(composed(RIVER, split)),
        "country": Words(composed(COUNTRY, split)),
        "museum": Words([f"{name} Museum" for name in composed(INSTITUTION, split)]),
        "title": Words(composed(TITLE, split, " ")),
    }
