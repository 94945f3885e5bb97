"""The words of the stories: people and what one calls them, rooms, things, weather, and the word classes of the templates."""

from itertools import product


def _pairs(*parts: str) -> list[str]:
    """All ways to take one word (or two) from each list, in order."""
    return [" ".join(words) for words in product(*(part.split(",") for part in parts))]


GIRLS = (
    "Mia Lena Clara Ruth Nora Ida Zoe Amy Hana Sofia Priya Wanda Olga Yuna Elsa Freya Greta Iris Jana Kira Leila Tilda "
    "Nadia Opal Pia Rosa Sara Tess Uma Vera"
).split()
BOYS = (
    "Ben Tom Omar Leo Max Finn Hugo Ivan Jonas Karl Luca Milo Noah Oscar Paul Quinn Ravi Sam Theo Rufus Viktor Walter "
    "Yusuf Zeno Adam Bruno Carlo David Emil Felix"
).split()
SURNAMES = (
    "Lind Oakley Finch Marsh Baker Stone Brook Hill Castle Winter Page Wells Moss Pike Lamb Frost Holt Kean Reed Dale "
    "Ford Penny Quill Thorn Archer Bell Carver Dove Elm Fisher Grove Hare Ivory Kettle Larch Miller Nettle Orchard "
    "Potter Rivers Sandal Tanner Usher Vane Weaver Yarrow Birch Cobb"
).split()
STAFF = [f"{title} {surname}" for surname in SURNAMES for title in ("Mr.", "Mrs.")]
KIN = {
    **dict.fromkeys(("mother", "grandmother", "aunt", "big sister", "godmother", "stepmother"), "she"),
    **dict.fromkeys(("father", "grandfather", "uncle", "big brother", "godfather", "stepfather"), "he"),
}
ELDERS = ("grandmother", "grandfather", "great-aunt", "great-uncle")

# What a pronoun becomes when it is the subject, the owner, the object, and when it turns back on itself.
CASES = {"she": ("she", "her", "her", "herself"), "he": ("he", "his", "him", "himself")}
PRONOUN = (
    dict.fromkeys(GIRLS, "she")
    | dict.fromkeys(BOYS, "he")
    | {name: "he" if name.startswith("Mr.") else "she" for name in STAFF}
    | KIN
    | {"great-aunt": "she", "great-uncle": "he"}
)

ROOMS = _pairs(
    "the north,the south,the east,the west,the long,the round,the old,the quiet,the upper,the lower,the glass,the great,the cool,the dim,the grand,the high",
    "hall,wing,tower,room,cellar,court,vault,attic,arcade,salon,gallery,chapel,loft,annex",
)
THINGS = _pairs(
    "paper,wooden,woollen,tin,glass,clay,knitted,felt,clockwork,velvet,cork,rubber,tiny,red,green,blue,brass,striped,old,silk",
    "boat,robot,rabbit,lion,horse,frog,mouse,crown,bear,duck,train,bell,dragon,fish,snail,rocket,pig,spoon,cat,owl,kite,ship,moon,sun,tiger",
)
FOODS = _pairs(
    "ginger,honey,cherry,walnut,apple,poppy,cinnamon,lemon,raisin,almond,plum,cheese,pumpkin,butter,apricot,chestnut,fig,plain,rye,onion,carrot,berry,pear,corn,nut,mint",
    "biscuits,buns,tarts,cakes,rolls,muffins,pies,waffles,crackers,scones,puffs,bars,bites",
)
ANIMALS = _pairs(
    "tiny,grey,young,fat,thin,shaggy,spotted,lame,wet,sleepy,proud,lost,old,shy,black,white",
    "mouse,kitten,squirrel,owl,hedgehog,cat,puppy,rabbit,bat,toad,ferret,tortoise,goose,fox,mole,hamster",
)
PET_NAMES = (
    "Button,Pepper,Biscuit,Crumb,Whisper,Thimble,Pocket,Nutmeg,Shadow,Pudding,Marble,Tick,Cobweb,Midnight,Captain,"
    "Noodle,Turnip,Velvet,Clover,Domino,Muffin,Pebble,Sixpence,Gherkin"
).split(",")
BIRDS = _pairs(
    "young,brown,small,speckled,plump,bold,ragged,bright,old,grey,lost,quick,tame,wild,shy,thin",
    "sparrow,robin,swallow,pigeon,wren,starling,blackbird,magpie,dove,canary,parrot,finch,swift,thrush,jackdaw,owl",
)
TOWNS = [
    first + last
    for first in "Bel Tarn Oster Quill Lum Arrow Sand Nor Pel Vin Easter Kes Amber Holm West Fern Ash Cor Dun Elm Gar Hazel Kirk Lin".split()
    for last in "mora wick vale by bridge holm mere ford haven ton dale field".split()
]
MATERIALS = _pairs(
    "old,rough,smooth,heavy,pale,dark,carved,fine,plain,cold,pure,soft,hard,rare,grey,raw",
    "glass,marble,oak,copper,clay,amber,bronze,iron,silver,wax,plaster,coral,pine,brass,slate,porcelain",
)
SPOTS = _pairs(
    "under the,behind the,by the,beside the,near the,below the",
    "old,red,broken,tall,big,dusty,green,empty,second,third,blue,small,last,first,low,open",
    "bench,curtain,vase,chair,piano,sofa,stove,carpet,locker,clock,chest,ladder,shelf,basket,statue,desk,lamp,stool,bed,rug",
)
SHOWS = _pairs(
    "grand,little,famous,secret,last,great,merry,magic,new,old,mad,late,long,short,blue,free",
    "puppet show,lantern show,star show,shadow play,flea circus,organ concert,story hour,clock parade,mask dance,boat ride",
)
PRIZES = _pairs(
    "a box of,a bag of,a bowl of,a chest of,a jar of,a sack of,a tin of,ten,a crate of,fifty,six,a pile of",
    "paints,pencils,picture books,blocks,kites,toffees,brushes,chalks,puppets,puzzles,tin trains,mints,masks,balls,"
    "drums,paper planes",
)
TREASURES = _pairs(
    "tiny,silver,painted,old,shiny,wooden,paper,striped,foreign,golden,glass,round,lucky,red,blue,tin",
    "bells,beads,coins,stamps,badges,lanterns,shells,ribbons,dice,eggs,stars,keys,buttons,marbles,rings,feathers",
)
PATTERNS = _pairs(
    "yellow,green,blue,red,white,orange,purple,black",
    "ducks,moons,cherries,frogs,anchors,daisies,clouds,mushrooms,whales,snails,lemons,feathers,bees,kites,fish,cats",
)
TUNES = _pairs(
    "a slow,a merry,an old,a sad,a gentle,a wild,a short,a sleepy,a sweet,a solemn,a long,a fast,a shy,a royal,a soft,a lost",
    "lullaby,waltz,sea song,march,reel,polka,hymn,jig,ballad,tango,carol,round,psalm,fugue,gavotte,rumba",
)
SUBJECTS = _pairs(
    "famous,small,northern,lost,wild,useful,old,strange,great,blue,secret,rare,tiny,tall,quiet,red",
    "comets,volcanoes,beetles,lighthouses,deserts,pirates,mushrooms,bridges,bears,islands,windmills,ships,kings,whales",
)
AGES = [
    f"{tens}{ones}"
    for tens in "forty fifty sixty seventy eighty ninety".split()
    for ones in ("", "-two", "-five", "-nine")
] + [
    f"{number} {unit}"  # in order, so that one can say which of two is older
    for unit in ("hundred", "thousand")
    for number in "two three four five six seven eight nine".split()
]
WORKERS = _pairs(
    "tall,stout,young,merry,freckled,bald,cheerful,shy,thin,old,blond,quiet,proud,small,kind,calm",
    "baker,painter,cook,postman,gardener,tailor,sailor,farmer,barber,plumber,miller,fisherman,chimney sweep,doctor",
)
HAMPERS = _pairs(
    "big,round,checked,leather,battered,heavy,blue,wicker,old,green,long,small,wet,red,brown,flat",
    "basket,bag,box,hamper,tin,bundle,suitcase,parcel",
)
SPANS = [
    f"{tens}{ones}"
    for tens in ("twenty", "thirty", "forty", "fifty")
    for ones in ("", "-one", "-three", "-six", "-eight")
]
COUNTS = (
    "five,six,seven,eight,nine,ten,eleven,twelve,thirteen,fourteen,fifteen,sixteen,seventeen,eighteen,nineteen,twenty"
).split(",")
WEEKDAYS = "Monday,Tuesday,Wednesday,Thursday,Friday,Saturday,Sunday".split(",")
NIGHTS = "rainy,wet,windy,snowy,frosty,foggy,cold,mild,starry,moonlit,stormy,quiet,misty,icy,warm,long".split(",")
DAYTIMES = ("morning", "afternoon", "day", "noon", "holiday", "lunchtime")
MOODS = (
    "sleepy,shy,grumpy,lonely,nervous,bored,worried,gloomy,cross,timid,homesick,restless,sulky,anxious,moody,jealous,"
    "weary,unhappy,uneasy,glum,low,tearful,fretful,lazy"
).split(",")
GARMENTS = _pairs(
    "striped,green,muddy,new,yellow,woollen,spotted,old,red,patched,checked,purple,silky,torn,white,warm",
    "scarf,hat,coat,cap,jumper,tie,shirt,waistcoat,cape,raincoat,jacket,sash,vest,hood,collar,poncho",
)

# Each kind of weather, and what one finds at the end of the day when one steps outside again.
WEATHER = {
    "rainy": ("the rain had stopped", "it was still raining", "the puddles were as big as ponds"),
    "wet": ("the last drops fell from the roof", "the street was shining with rain", "the drains were gurgling"),
    "windy": ("the wind was still blowing", "the wind had gone to sleep", "the wind pulled at their coats"),
    "sunny": ("the sun was low and golden", "the stones of the steps were still warm", "the sky was all gold"),
    "bright": ("the light was turning pink", "the windows shone like honey", "their shadows had grown long"),
    "snowy": ("it was still snowing", "the snow creaked under their boots", "the whole street was soft with snow"),
    "frosty": ("the puddles had turned to ice", "their breath hung in the air", "the railings sparkled with frost"),
    "foggy": ("the fog had lifted", "the street lamps looked like dandelions", "the fog had hidden the street"),
    "grey": ("the clouds had opened at last", "the sky was as grey as before", "a thin sun had come out"),
    "hot": ("the air had grown cool at last", "the pavement was still hot", "a cool breeze was waiting for them"),
    "cold": ("their noses turned pink at once", "the air smelled of snow", "the cold bit their ears"),
    "mild": ("the air smelled of leaves", "a blackbird was singing", "the evening was soft and still"),
}
# What a colour is like, and what one can say of a shape without naming it.
LIKE = {
    "red": "a ripe strawberry,a fire engine,a poppy,a ladybird,a robin's breast,a cherry,a letter box,hot embers",
    "orange": "a pumpkin,a fox,a sunset,a carrot,a tiger's coat,marmalade,an autumn leaf,a clownfish",
    "yellow": "a lemon,a duckling,butter,a buttercup,a canary,ripe corn,the noon sun,custard",
    "green": "spring grass,a frog,a fresh pea,moss,a grasshopper,a lime,a fir tree,pond water",
    "blue": "the summer sky,deep water,a cornflower,a sailor's coat,a kingfisher,ink,far hills,a forget-me-not",
    "purple": "a plum,lavender,evening clouds,a thistle,beetroot soup,a king's robe,an aubergine,heather",
    "black": "the night,coal,a raven,a chimney,liquorice,a piano,a panther,wet tar",
    "white": "milk,new snow,a swan,chalk,a clean sheet,a cloud,sea foam,a goose feather",
}
HINTS = {
    "circle": "I have no corner and no end,I am as round as the moon,I look like a wheel that rests",
    "square": "I have four corners and all my sides are equal,I look like a window,I am as wide as I am tall",
    "triangle": "I have only three corners,I look like a little roof,I am a mountain with a sharp top",
    "star": "I have many points and my brothers shine at night,I belong in the night sky,Sailors look up to me",
    "heart": "I stand for love,You carry one like me in your chest,I am round at the top and pointed below",
    "cross": "I am two lines that meet in the middle,I look like a kiss in a letter,I mark the place on a map",
}

# Word classes, written <name> in a template. Each alternative is equally likely; an empty one says nothing.
CLASSES = {
    "said": "said/said/said/whispered/murmured/declared/remarked/muttered/announced/added/mumbled/breathed",
    "asked": "asked/asked/wondered/whispered/murmured/mumbled/breathed",
    "then": "Then /Soon /After that /After a while /A little later /A moment later /Before long /By and by /"
    "A few minutes later /Now /Presently /Next /Quite soon /Some time later /Just after that /Two minutes later ",
    "suddenly": "Suddenly /All at once /Just then /At that very moment /In that instant /Out of nowhere /"
    "Without warning /All of a sudden /Then, as if by magic, /A heartbeat later /At once /Then /"
    "Right then ",
    # How something is said: a word, or <with a nod>.
    "softly": "<with>/<with>/<with>/<with>/<with>/<with>/<with>/// softly/ gently/ kindly/ quietly/ slowly/ thoughtfully/"
    " tenderly/ patiently/ calmly/ dreamily/ earnestly/ firmly/ warmly/ simply/ after a moment/ in a low voice/"
    " without hurry/ and smiled/ and nodded/ and blinked/ sweetly/ rather shyly/ politely/ wisely",
    "gladly": "<with>/<with>/<with>/<with>// happily/ brightly/ at once/ merrily/ joyfully/ cheerfully/ and laughed/"
    " and clapped/ and twirled/ and beamed/ all smiles/ with shining eyes/ and hopped on one leg/ with a skip/ warmly",
    "sadly": "<with>/<with>/<with>/<with>// sadly/ miserably/ hoarsely/ in a small voice/ in a trembling voice/ and sniffed/"
    " and looked down/ and swallowed hard/ almost in tears/ and turned pale/ and sank down/ with wet eyes/ bitterly/ gloomily",
    "eagerly": "<with>/<with>/<with>/<with>// eagerly/ excitedly/ in a whisper/ out of breath/ in surprise/ all in one breath/"
    " much too loudly/ and jumped/ and pointed/ and spun round/ and stood still/ with round eyes/ breathlessly/ hurriedly",
    "proudly": "<with>/<with>/<with>/<with>// proudly/ importantly/ grandly/ boldly/ solemnly/ in a clear voice/ and winked/"
    " and bowed/ and stood up straight/ with red cheeks/ without a blush/ like a king/ as if it were nothing/ quite seriously",
    "with": " with a <slight> <nod>",
    "slight": "shy/tiny/long/slow/quick/little/deep/crooked/secret/serious/polite/funny/careful/sudden/wry/dry/"
    "soft/warm/proud/sad/brave/sly/stiff/brief/dreamy/gentle/loud/small",
    "nod": "nod/smile/sigh/wink/cough/shrug/bow/look/gulp/frown/sniff/wave/laugh/grin/blink/yawn/hum/hiccup/"
    "stare/snort",
    "walking": "/ slowly/ quickly/ on tiptoe/ without a word/ with quick steps/ step by step/ without a sound/ carefully/"
    " side by side/ hand in hand/ past <number> <fine> <sight>/ past <someone>/ past <number> <fine> <sight>/ past <someone>",
    "nice": "lovely/beautiful/wonderful/splendid/fine/marvellous/pretty/grand/delightful/charming/glorious/"
    "strange/merry/magical/dazzling/enchanting/curious/gorgeous/tender/solemn/bold/bright/droll/fun/grim/"
    "loud/long/rare/rich/sad/short/sweet/wild/witty",
    "good": "good/clever/brave/kind/dear/fine/bright/sweet/useful/faithful/patient/quiet/clear-headed/quick/"
    "lucky/bold/calm/fair/noble/true/warm/wise/smart",
    "gentle": "/<mild> /<mild> /<mild> /<mild> /<mild>, <haired> /<mild>, <haired> /<mild>, <haired> ",
    "narrow": "round/narrow/dark/tiny/crooked/deep/hidden/dusty/long/low/thin/black/small/cold/damp",
    "little": "little /small /tiny /neat /pale /faded /fine /coloured /yellow /crumpled /shiny /square /round //"
    "big /bold /bright /clean /long /new /plain /red /thin /torn /wet ",
    "looked": "looked at/stared at/gazed at/studied/admired/walked around/stood before/marvelled at/examined/"
    "whispered about/bowed to/stopped at/drew/praised/greeted/sketched",
    "went": "went/walked/hurried/tiptoed/marched/wandered/strolled/skipped/drifted/trotted/crept/strode/ambled/"
    "danced/filed/hopped/loped/moved/padded/rolled/slid/stole/swept",
    "ran": "ran/hurried/rushed/raced/dashed/flew/sped/scampered/galloped/darted/bolted/tore/shot/swept/charged/"
    "bounced/hopped/jumped",
    "big": "big /old /great /famous /quiet /new /tall /stately /grey /splendid /brick /marble /busy /cosy /"
    "fine /grand /huge /little /local /rich /royal /white /wide ",
    "someone": "<a_mild> <visitor>",
    "haired": "white-haired/long-legged/round-faced/soft-spoken/red-haired/bright-eyed/sharp-eyed/rosy-cheeked/left-handed/"
    "bow-legged/grey-eyed/curly-haired/snub-nosed/long-armed/deep-voiced/small-footed",
    "a_mild": "an old/a tall/a young/a tired/a cheerful/a shy/a stout/a thin/a freckled/a jolly/a serious/a tidy/"
    "a curious/a sleepy/a busy/a yawning/a laughing/a barefoot/a limping/a bald/a calm/a fat/a grand/"
    "a kind/a loud/a lost/a meek/a merry/a neat/a pale/a proud/a rude/a slow/a stern/a tanned/a vain/"
    "a weary/a wet/a short",
    "mild": "friendly/tall/merry/gentle/cheerful/patient/quiet/thin/lively/sleepy/stout/wise/busy/freckled/small/"
    "jolly/serious/tidy/curious/shy/young/polite/brisk/solemn/kind/slim/plump/bald/calm/loud/meek/neat/"
    "proud/pale/quick/quaint/rosy/slow/sly/smart/stern/warm/weary",
    "visitor": "lady/student/nun/sailor/schoolgirl/soldier/bus driver/dancer/farmer/tourist/captain/painter/judge/"
    "violinist/professor/widow/twin/cyclist/singer/dentist/gentleman/mother/father/poet/clown/nurse/"
    "boy scout/pianist/clerk/hiker/baker/banker/boy/chemist/cook/diver/duke/girl/grocer/guest/lord/maid/"
    "man/monk/pilot/porter/priest/scholar/sculptor/tailor/teacher/uncle/vet/waiter/woman",
    "trifle": "a <fine> <scrap>",
    "scrap": "button/hairpin/sweet/coin/feather/thimble/comb/glove/marble/cork/nutshell/pencil/ribbon/toffee/"
    "shoe lace/pen cap/tooth/chess piece/cherry stone/stamp/spoon/key ring/sock/buckle/bead/dice cup/"
    "doll's shoe/needle/fan/leaf/pin/nail/ring/nut/bean/pea/card/cap/key/bell/bow/bolt/brush/candle/"
    "chalk/dime/doll/fork/lens/plum/reel/seal/tack/wig/map",
    "like": "like a <wet> <beast>",
    "likes": "like <wet> <beasts>",
    "beasts": "mice/geese/goats/rabbits/penguins/donkeys/kittens/ducklings/bears/foxes/squirrels/beetles/hens/"
    "ponies/frogs/seals/moles/herons/camels/puppies/crabs/sparrows/hedgehogs/lambs/badgers/storks/swans/"
    "otters/cats/dogs/cows/pigs/toads/bees/crows/gulls/snails/wolves/mules/bats/cubs/calves",
    "wet": "wet/sleepy/proud/lost/happy/frightened/fat/young/grey/hungry/shy/clever/stubborn/dancing/small/"
    "merry/sad/glad/lame/bald/calm/loud/mad/meek/rude/sick/slow/vain/wise/tame/tired/lonely",
    "beast": "mouse/goose/goat/rabbit/penguin/donkey/kitten/duckling/bear/fox/squirrel/beetle/hen/pony/frog/seal/"
    "mole/heron/camel/puppy/crab/sparrow/hedgehog/tortoise/pelican/lamb/badger/stork/cat/dog/cow/calf/"
    "pig/toad/bee/moth/crow/gull/snail/worm/wolf/deer/mule/colt/bat/cub/duck/newt/wasp/carp",
    "glad": "<quite><happy>",
    "happy": "glad/light/warm/proud/safe/brave/happy/calm/merry/rich/tall/free/at home/thankful/strong/bold/"
    "fine/good/great/pleased/young/lucky/grand/bright/cosy",
    "low": "<quite><blue>",
    "blue": "small/cold/sick/hollow/heavy/lost/ashamed/dizzy/guilty/lonely/foolish/numb/afraid/wretched/weak/stiff/"
    "helpless/faint/ill/sad/shy/sore/stupid/tired/tiny/uneasy/bitter/glum/pale",
    "quite": "/very /rather /quite /terribly /suddenly /strangely /a little /oddly ",
    "reacted": "nodded<manner>/blinked<manner>/swallowed<manner>/smiled<manner>/stood still<manner>/looked up<manner>/"
    "took a deep breath/turned pink/shivered<manner>/hummed<manner>/coughed<manner>/waited<manner>/grinned<manner>/"
    "shrugged<manner>/listened<manner>/said nothing/counted to <number>/frowned<manner>/leaned closer/winked<manner>/"
    "sighed<manner>/whistled<manner>/scratched one ear/looked at the <fine> <sight>/breathed <like>",
    "manner": "// twice/ slowly/ a little/ for a moment/ for a long time/ thoughtfully/ <like>/ solemnly/ in silence",
    "creature": "a <wet> <beast>",
    "royal": "a <stern> <portrait>",
    "stern": "stern/sleepy/laughing/grumpy/weeping/proud/toothless/singing/bald/fat/tiny/headless/barefoot/"
    "kneeling/dancing/yawning/sad/mad/blind/calm/cross/gloomy/lazy/meek/noble/pale/rich/rude/vain/young",
    "attire": "a <fine> <cap>",
    "cap": "cap/jacket/tie/waistcoat/hat/scarf/apron/cloak/shawl/wig/bow tie/glove/belt/sash/collar/nightcap/"
    "coat/gown/hood/mask/robe/shirt/shoe/sock/vest/wreath/beret/crown/frock/cape",
    "smell": "[wax/old books/dust/wood/floor polish/soap/mice/glue/pepper/tar/hay/roses] and [rain/oranges/coffee/paint/"
    "paper/wool/cloves/snow/soup/apples/smoke/moss]",
    "sound": "a <soft> <creak>",
    "soft": "soft/loud/sharp/tiny/strange/long/hollow/dull/sudden/faint/deep/dry/silvery/short/sleepy/terrible/"
    "thin/low/rich/wet/wild/clear/dark/big/brief/dim/flat/harsh/light/mild/shrill/weak",
    "creak": "creak/click/thump/rustle/whistle/scratch/bang/squeak/rattle/cough/splash/knock/hiss/jingle/sneeze/"
    "hum/thud/clatter/crackle/snap/tap/groan/chirp/whisper/beep/bump/buzz/clang/clank/crash/drip/gulp/"
    "howl/moan/pop/ring/roar/sigh/squeal/swish/twang/wail/yawn/bark",
    "fine": "little/dusty/golden/worn/painted/crooked/marble/wooden/rusty/shining/broken/carved/tall/strange/"
    "silver/round/copper/paper/heavy/tiny/cracked/striped/forgotten/curved/yellow/gilded/brass/pale/blue/"
    "black/hollow/glass/gold/red/green/grey/bent/long/short/thin/fat/lost/dull/plain/neat/soft/flat/"
    "clay/tin/stone/straw/lead/wax",
    "sight": "lamps/doors/windows/stairs/statues/clocks/chairs/columns/mirrors/angels/vases/pictures/flags/masks/"
    "swords/bells/bowls/birds/shields/helmets/crowns/coins/drums/ships/beds/baskets/dolls/saddles/ovens/"
    "wheels/harps/skulls/boats/boots/cats/cups/desks/dogs/fans/fish/gates/gongs/goats/hats/jars/keys/"
    "kings/knights/lions/moons/nests/owls/pots/queens/rings/ropes/suns/towers/trees/urns/wigs",
    "number": "two/three/four/five/six/seven/eight/nine/ten/eleven/twelve/thirteen/fourteen/fifteen/sixteen/"
    "seventeen/eighteen/nineteen/twenty/thirty/forty/fifty/sixty/ninety/seventy/eighty",
    "portrait": "king/queen/goat/captain/judge/general/cook/poet/princess/pirate/farmer/dentist/fiddler/knight/"
    "miller/baby/duchess/monk/bishop/horse/thief/giant/mermaid/wizard/duke/nun/lord/scribe/page/clown/"
    "saint/dwarf/nurse/tutor",
    "hour": "at last/an hour later/when the {food} were gone/when nobody expected it/just before closing time/"
    "when the clock struck [four/five/six]/after {count} stories",
    "for_a_while": "for a moment/for a while/for a long time/for a whole minute/without blinking/with great care/twice",
}
