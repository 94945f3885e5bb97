"""Names that nobody has heard: composed of parts, so that a model must read them and cannot remember them.

A name is one part of each list, put together: "Tal" + "or" = "Talor". The combinations of a list's parts are dealt to
the splits by the sum of their places, modulo eight: five remainders to training and one to each of the others. So
every part is met in training, with every remainder, but no combination of one split is ever seen in another.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

from fmnotes.museum.grammar import Words
from fmnotes.museum.world import check_split

Parts = tuple[tuple[str, ...], ...]


def parts(*lists: str) -> Parts:
    return tuple(tuple(one.split(",")) for one in lists)


BEGIN = (
    "Ba,Be,Bro,Bry,Co,Cu,Da,De,Do,Dru,Fa,Fen,Fi,Ga,Gri,Gwy,Hal,Hes,Ja,Jo,Ka,Ko,Kru,La,Lo,Lu,Ma,Mi,Mo,Na,Ny,"
    "Or,Pe,Pru,Ra,Re,Ro,Sa,Se,Ta,Thu,Tri,Va,Vi,Wa,Wil,Ye,Zu"
)
GIVEN = parts(
    BEGIN,
    "bo,ca,da,di,do,fa,fer,go,ja,ko,la,lia,lin,lo,lu,mir,mo,na,nek,no,pa,pe,ra,ri,ron,sha,shi,so,ta,tte,va,"
    "van,vi,wen,wyn,xa,ya,yo,za,zo",
)
FAMILY = parts(
    BEGIN,
    "bek,blom,bru,cott,dal,dell,dric,dwin,fax,gan,gill,gorn,grove,kers,kin,lak,lund,mas,mont,nik,nock,pell,"
    "penn,quist,rell,rick,sell,sen,ski,smith,son,stock,tov,trell,vard,vek,well,witt,worth,zin",
)
CITY = parts(
    BEGIN,
    "beck,berg,bourne,bridge,bury,by,castle,chester,cliff,croft,dam,dorf,field,fleet,ford,furt,gate,grad,ham,"
    "haven,heim,hill,holm,hurst,mark,minster,mouth,pool,port,quay,stad,stead,stow,ton,vale,vik,ville,wall,"
    "wick,wold",
)
RIVER = parts(
    BEGIN,
    "bar,bra,bre,brook,dee,dour,dra,esk,finn,flow,gris,harn,ine,isse,jord,keld,lune,mer,nube,onne,paz,quill,"
    "rne,rthe,runn,sel,sk,sterre,swin,thra,tis,une,var,vre,wash,wend,wey,xe,yne,zarn",
)
COUNTRY = parts(
    BEGIN,
    "bia,burg,dania,den,donia,dora,fenia,gal,gard,gonia,guay,jania,kia,land,laria,lonia,luxe,mania,menia,"
    "mora,nada,nesia,nia,pania,quia,reland,ria,rhine,shire,sia,soa,stan,tania,thia,tia,tonga,vadia,via,wania,"
    "zia",
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


class FullNames(Words):
    """A domain: every given name with every family name, each equally likely; too many to be listed."""

    def __init__(self, given: Sequence[str], family: Sequence[str]):
        self.given, self.family = Words(given), Words(family)
        self.values = _Pairs(given, family)

    def __contains__(self, value: object) -> bool:
        given, _, family = str(value).partition(" ")
        return given in self.given and family in self.family

    def read(self, text: str, position: int, form: str) -> Iterator[tuple[str, int]]:
        for given, end in self.given.read(text, position, form):
            if text.startswith(" ", end):
                yield from ((f"{given} {family}", stop) for family, stop in self.family.read(text, end + 1, ""))


@dataclass(frozen=True)
class _Pairs(Sequence):
    """The pairs of two lists in order, each made when it is asked for."""

    first: Sequence[str]
    second: Sequence[str]

    def __len__(self) -> int:
        return len(self.first) * len(self.second)

    def __getitem__(self, place):
        if isinstance(place, slice):
            return [self[i] for i in range(len(self))[place]]
        if not 0 <= place < len(self):
            raise IndexError(f"there are {len(self)} pairs, and none at {place}")
        return f"{self.first[place // len(self.second)]} {self.second[place % len(self.second)]}"


def composed(parts: Parts, split: str, joint: str = "") -> list[str]:
    """The combinations of parts that belong to a split. ValueError if there is no such split."""
    check_split(split)
    return [
        joint.join(part for _, part in combination)
        for combination in product(*(enumerate(one) for one in parts))
        if sum(place for place, _ in combination) % 8 in REMAINDERS[split]
    ]


@cache
def names(split: str) -> dict[str, Words]:
    """The domains of names in a split: person, city, river, country, museum and title, each name equally likely."""
    return {
        "person": FullNames(composed(GIVEN, split), composed(FAMILY, split)),
        "city": Words(composed(CITY, split)),
        "river": Words(composed(RIVER, split)),
        "country": Words(composed(COUNTRY, split)),
        "museum": Words([f"{name} Museum" for name in composed(INSTITUTION, split)]),
        "title": Words(composed(TITLE, split, " ")),
    }
