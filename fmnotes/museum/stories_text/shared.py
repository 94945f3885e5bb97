"""What any story may say: how it opens, small events on the way that change who holds what, and what comes back at the end.

The notation is that of the plots (see `stories.py`). Events stand under conditions on what has happened so far: only
the child who holds a thing can give it away, and what was laid on a bench is remembered before the door closes.
"""

OPENING = """
- One {weather} {daytime} {who} and {friend} [went to/visited/walked to/took the bus to/rode to/ran to] the <big>museum
    with {who}'s {kin}.
  {who} and {friend} were [best friends/good friends/neighbours/in the same class/cousins/as close as twins].
    One {weather} {daytime} {who}'s {kin} took them to the <big>museum.
  It was {weather|a} {weekday}, and {who} was on the way to the <big>museum with {his} {kin} and {his} friend {friend}.
  On {weather|a} {weekday} {who}'s {kin} [took/brought/led] {who} and {friend} to the <big>museum.
  "Today we are going to the museum," said {who}'s {kin} one {weather} {daytime}.
    {who} [cheered/jumped up/ran to find {his} shoes/was ready at once/whistled], and {friend} was allowed to come too.
"""

CARRY = """
- {who} [had/carried/kept/was hiding/had packed] {thing|a} in {his} [coat pocket/bag/left pocket/sleeve/rucksack/basket/
    hood/right pocket/lunch box/sock].
  In {his} [hand/pocket/bag/satchel/arms/cap] {who} had {thing|a}, a [present/gift/souvenir/prize] from
    [{friend}/{his} cousin/a neighbour/the fair/the seaside/{his} teacher/the flea market/{his} godmother].
  {who} held {thing|a} that {he} had [found/bought/won/been given/mended/dug up/finished] [that week/the day before/on {his} birthday/
    at school/on {weekday}/at the fair/in the garden].
  "Why did you bring {thing|a}?" <asked> {friend}. "[For luck/In case we need it/It wanted to come/It is my favourite/I never
    leave it alone/Why not]," said {who}<proudly>.
"""

WEAR = """
- {who} [wore/had put on/was proud of] {garment|a}, and {friend} [wore/had/was wrapped in] {garment2|a}.
  {friend} came in {garment2|a}, and {who} in {garment|a} that was [much too big/brand new/{his} {kin}'s/a present/already too short].
"""

MOOD = """
- {who} felt [a little/rather/very/terribly/somehow/unusually] {mood} that day, and [did not know why/nobody had noticed yet/
    even {friend} could not change it/{he} did not want to talk about it/{he} dragged {his} feet/{he} kept it to {himself}].
  "Why are you so quiet?" <asked> {friend}<softly>. "I am a bit {mood} today," said {who}<sadly>.
  {friend} was full of [fun/jokes/songs/questions/riddles/ideas/energy], but {who} was {mood}.
"""

# The events on the way. `give`, `back`, `lay`, `lend` move the thing or the garment; the others leave a memory.
EVENTS = {
    "look": """
- "[It is/That one is/Look, it is/I say it is] as {colour4} as {like4}," <said> {who}<softly> before the {colour4} {shape4}.
  {friend} <looked> the {colour4} {shape4}. "I [like/love/want/will draw/will remember] this one," {fhe} <said><softly>.
  They passed the {colour4} {shape4}. "What is it made of?" <asked> {friend}. "Of {material}," <said> {who}<proudly>.
""",
    "tour": """
- They [passed/saw/waved to/greeted/drew] the {colour4} {shape4}, a [stone/wax/bronze/wooden/headless/sleeping/smiling/riding] <portrait> and <number> <fine> <sight>.
  They counted <number> <fine> <sight>, <number> <fine> <sight> and, last of all, the {colour4} {shape4}.
""",
    "snack": """
- They sat down [on a bench/on the stairs/by a window/on the floor/under a lamp/in a corner] and [shared/ate/unpacked] some {food4}.
  {friend} [opened/unpacked/took out/found] a [paper bag/tin/lunch box/napkin/jar] with {food4}, and they ate [two/three/four] each.
  {who} was [hungry/starving/tired], so they had some {food4} [in the hall/by the door/at the little table/on the steps/in a niche].
""",
    "here": """
- {here|cap} was [bigger/darker/brighter/older/warmer/colder/quieter] than [{friend} had thought/any church/a railway station/it looked on the map/
    a whale's belly/a forest].
  "I could [live/sleep/stay/get lost/dance/ride a bicycle/read all day] in {here}," <said> {friend}<softly>.
  In {here} there were <fine> <sight> and <number> [carved/painted/golden/tiny] [birds/lions/flowers/ships/faces/snakes/suns/pears].
""",
    "give": """
- {who} let {friend} hold the {thing} [for a while/for luck/because {fhe} asked], as carefully as <creature> [carries/minds/guards] an egg.
  "[May/Can/Could] I carry the {thing}?" <asked> {friend}. "[Of course/Yes/If you are careful/Only for today/Mind its nose]," <said> {who}<softly>.
  {who} gave {friend} the {thing}, [to have both hands free/because {fhe} asked so nicely], and {friend} <reacted>.
""",
    "back": """
- {friend} gave the {thing} back to {who}[/ with a sigh/ and <reacted>/ in exchange for <trifle>/ in exchange for <trifle>].
  "Here is your {thing}," <said> {friend}<softly>, and {who} took it back.
""",
    "lay": """
- {who} put the {thing} on a <fine> [bench/chair/window sill/stool/step/shelf], to [tie a shoe/button up {his} coat/blow {his} nose/look at the map/
    wave at <someone>/pick up <trifle>/draw <royal>/scratch {his} knee].
""",
    "lend": """
- {friend} [shivered/was cold/sneezed/looked cold], and {who} lent {fhim} the {garment} [for <number> minutes/for <trifle>/with a bow].
  "[Shall we/Let us/Can we] swap?" <asked> {friend}<softly>, and {who} gave {fhim} the {garment}.
""",
}

ASIDE = """
- Somewhere there [was/came/followed] <sound>[/, and then <sound>/, and {who} <reacted>].
  [Every shoe/Every boot/Each step/Each word/Even a whisper] [squeaked/echoed/sounded/came back] <like>.
  Close by, <someone> was [studying a map/whispering/counting the <sight>/arguing with <someone>/asleep on a bench/lost/drawing a <portrait>].
  A baby [laughed/sneezed/babbled/crowed/hiccuped/yawned] in the next room.
  It smelled of <smell>.
  The [sun/light/lamps] drew [long/bright/thin/golden/pale/trembling] [stripes/squares/lines/patches/stars/rings] on the floor.
  A painted <portrait> with <number> <fine> <sight> [frowned/looked down/seemed to smile/watched/winked] from the wall.
"""

# What comes back at the end.
RECALLS = {
    "bench": """
- "Wait! My {thing}!" [cried/called/shouted/gasped] {who}<eagerly>. It was still there, next to <trifle>, and {who} took it back.
  At the door {who} remembered the {thing}. {friend} ran back <like> and [fetched/found/got/saved] it.
""",
    "seen": """
- "And I will never forget the {colour4} {shape4}," <said> {friend}<softly>, "or the <number> <fine> <sight>."
  "[May/Can/Shall] we visit the {colour4} {shape4} again next {weekday}?" <asked> {friend}<eagerly>.
  On the way out they [waved/bowed/nodded/whispered goodbye] to the {colour4} {shape4} and to <someone>.
""",
    "food": """
- There were even some {food4} left, and they shared them with <someone>.
  {who} gave {friend} the last of the {food4} in exchange for <trifle>.
""",
    "holds_friend": """
- {friend} was still holding the {thing}. "Keep it until {weekday}," <said> {who}<softly>.
  "I [kept/held/guarded] your {thing} all the time," <said> {friend}<proudly>, and gave it back to {who}.
""",
    "holds_who": """
- {who} [felt/reached] for the {thing}. It was [still there/warm/safe], next to <trifle> from {friend}.
  {who} showed the {thing} to {his} {kin}. "It was as <good> as <creature>," {he} <said><proudly>.
""",
    "wears_friend": """
- {friend} gave back the {garment} and <reacted>. With it came <trifle>.
  "[Keep/Wear] the {garment} until {weekday}," <said> {who} to {friend}<softly>, and took the {garment2}.
""",
    "wears_who": """
- {who} had lost <trifle> from the {garment}, but {friend} [found/mended/replaced] it with <trifle> from the {garment2}.
  Then <someone> [praised/admired/noticed] {friend}'s {garment2}, and {who} <reacted> in {his} {garment}.
""",
    "mood": """
- {who} was not {mood} any more. {he|cap} felt <glad>, and danced <like> round {friend}.
  "Are you still {mood}?" <asked> {friend}. "[Not a bit/No/I forgot all about it/Not any more/I feel <glad>]," <said> {who}<gladly>.
""",
    "place": """
- {who} looked back at {here}[/ once more/ for a moment/, to keep it in mind] and felt <glad>.
  "[Of all the rooms/Of the whole museum/Of all places] I like {here} best," <said> {friend}<softly>.
""",
    "weather": """
- When they [came out/stepped outside/left the museum] past <someone>, {sky}.
  Outside, {sky}, and [the street/the town/the square/the whole world] smelled of <smell>.
""",
}
