"""Plots about feelings: a forbidden touch, a shy guide, a memory, a broken music box, a birthday that seemed forgotten."""

FORBIDDEN_TOUCH = """
+ opening
+ carry
- A <fine> sign said, "Please do not touch." {who} read it to <someone> [in a deep voice/in a silly voice/<like>].
  "[You may look at/Look at] everything, but touch nothing," <said> {who}'s {kin}<softly>, and {who} <reacted>.
- In {room} stood the {colour} {shape}, as {colour} as {like}. Nobody was looking, and {who} [touched/stroked/poked/tapped] it.
  In {room} {who} [touched/stroked/poked/tapped] the {colour} {shape} with [one finger/two fingers/{his} thumb/the tip of {his} nose].
=> here=room
- There [was/came/followed] <sound>, and a <little>piece of {material} fell off. {who} hid it in {his} [shoe/pocket/fist/sleeve/sock].
  It rocked <like>, and a <little>piece of {material} fell off. {who} hid it in {his} [shoe/pocket/fist/sleeve/sock].
- In {room2} {he} saw nothing of the {colour2} {shape2}, nor of the <number> <fine> <sight>. {friend}, who knew all, <reacted>.
  They <went> to {room2}, to the {colour2} {shape2}, but {who} felt <low>, and {his} {food} tasted of [nothing/paper/sand/soap].
=> here=room2
+ turn

- "You must tell," <said> {friend}<softly>. "I am [afraid/scared/not brave]," <said> {who}<sadly>.
  "It gets [worse/heavier/bigger] if you keep it," <said> {friend}<softly>, and {who} <reacted>.
- In {room} stood {guard}, the <gentle>guard, in <attire>. "It was me," <said> {who}<sadly>. "I touched the {colour} {shape}."
=> here=room
- {guard} [looked at/turned/weighed/held up/studied/examined/sniffed at] the piece. "[That took courage/You are brave/It is hard to say that]," {ghe} <said><softly>.
  "{count|cap} people have touched it," <said> {guard}<softly>. "You are the first who came back."
- {guard} found glue {spot}. {friend} held a <fine> lamp, {who} pressed the piece on, and {guard} <reacted>.
  {who} held the piece, {friend} counted to [a hundred/sixty/eighty/fifty], and <someone> watched until the glue dried.

+ recall
- You can still see a [thin/fine/tiny/crooked] line in the {colour} {shape}. {who} visits it every {weekday} and feels <glad>.
  {who} slept <like> that night. {his|cap} [pocket/hand/heart] was [light/empty] again.
  From then on, when <someone> reached for the {colour} {shape}, {who} said<softly>, "Ask {guard} first."
"""

SHY_GUIDE = """
- {guard}, the new <gentle>guide, had {ghis} first tour this {weekday}. {ghis|cap} [hands/knees/ears] trembled <like>.
  It was {guard}'s first day as a guide. {ghe|cap} had practised every word with <creature> in the bath.
- In {room} waited <someone>, <number> [students/cooks/nuns/sailors], and right in front {who} and {friend}.
=> here=room
+ carry
- "Good [morning/day/afternoon]," <said> {guard}<softly>. "This is the ... the ..." {ghis|cap} words had run off <like>.
  {guard} opened {ghis} mouth, and there was only <sound>. {ghe|cap} felt <low>.
- {who} knew that feeling. At school {he} had once hidden <like> for <number> minutes.
  "I forgot my poem once," <said> {who} to {friend}<sadly>. "We must help." {friend} <reacted>.
- "What is that {colour} {shape} made of?" {he} [asked/called/wondered]<eagerly>.
- {guard} <reacted>. "Of {material}," {ghe} <said><softly>. "It comes from {town}, and it is {age} years old."
- "And who found it?" <asked> {friend}<eagerly>. "A <wet> <beast>, of all things," <said> {guard}<gladly>. And now the words came.
  "Who owned it?" <asked> {friend}<eagerly>. "A <stern> <portrait> with <number> <fine> <sight>," <said> {guard}<gladly>. And now the words came.

- In {room2} {guard} told them of the {colour2} {shape2}, of <royal> and <number> <fine> <sight>.
=> here=room2
+ turn
- At the end <someone> cheered, and all the others clapped. "How did you know?" <asked> {guard}<softly>.
  "Were you very afraid?" <asked> {friend}<softly>. "I felt <low>," <said> {guard}<softly>, "until {who} asked about the {colour} {shape}."

+ recall
- Today {guard} is the best guide of all. But before each tour {ghe} [looks/bows/winks/nods] at the {colour} {shape} and feels <glad>.
  Then {guard} gave {who} <trifle> and {friend} <trifle>. "For brave questions," {ghe} <said><proudly>.
  The next time {who} had to [speak/sing/read/dance] at school, {friend} sat in front in <attire> and asked about the {colour} {shape}.
"""

MEMORY = """
- {who}'s {elder} came on {weather|a} {weekday}, in <attire>. "I must see the {colour} {shape} again," {ehe} <said><softly>.
  One {weather} {weekday} {who}'s {elder} <reacted>. "Today I want to see the {colour} {shape}," {ehe} <said><softly>.
- So they packed some {food}, fetched {friend}, and <went> to the <big>museum<walking>.
+ carry
- In {room}, past <number> <fine> <sight>, the {elder} stopped. There it was, as {colour} as {like}.
  The {colour} {shape} hung in {room}, as {colour} as {like}, above <someone>.
=> here=room
- The {elder} <reacted>. "After the [war/flood/storm/fire]," {ehe} <said><softly>, "when I was {count}, we slept here."
- "I felt <low>. But a child called {third} gave me <trifle> and said, 'Look at the {colour} {shape}. It watches over us.'"
  "Beside me lay a child called {third}, as warm as <creature>. We looked at the {colour} {shape} and shared {food}."

- "And {third}?" <asked> {friend}<eagerly>. "Gone to {town}, long ago," <said> the {elder}<sadly>.
- "But we left <trifle>," {ehe} <said><softly>, "{spot}." {who} and {friend} looked there at once.
- With it lay a <little>card: "I come every {weekday}. {third}."
  There [was/came/followed] <sound>, and out fell a <little>card: "I come every {weekday}. {third}."
- "{weekday}? That is today!" <said> {friend}<eagerly>. The {elder} <reacted>.
- <then>the door opened with <sound>, and somebody in <attire> saw the {colour} {shape} and then the {elder}.
- "You still have the same [ears/eyes/laugh/freckles/nose]," <said> {third}<softly>. And the two friends danced <likes>.
  "{third}?" asked the {elder}<softly>. "[You are late/At last/Did you bring the {food}]," <said> {third}<gladly>.

+ recall
- Now four of them meet every {weekday} in {room}, in <attire> and <attire>, and share {food}.
  That night {who} drew the {colour} {shape}, hung it up between <number> <fine> <sight>, and felt <glad>.
  And the {colour} {shape} watched over them all, and over <number> <fine> <sight>.
"""

MUSIC_BOX = """
+ opening
+ carry
- In {room}, next to the {colour} {shape}, stood a <fine> music box with a card: "[Broken/Silent/Asleep] for {span} years."
=> here=room
- "It once played {tune}," <said> a <gentle>guard called {guard}<softly>, "but the key is lost."
- They [looked/searched/peered] {spot}, and [found/saw/picked up] <trifle>. They [looked/searched/peered] {spot2}, and [found/saw/picked up] <trifle>, but no key.
  {who} asked <someone>, and {friend} [looked/searched/peered] {spot}. There [was/lay/waited] only <trifle>, and no key.
+ turn

- <then>{who} leaned on the {colour} {shape} and <reacted>. Inside there [was/came/followed] <sound>.
  {friend} fell over <trifle> and against the {colour} {shape}. From inside came <sound>.
- "My fingers are too [thick/old/stiff/big]," <said> {guard}<sadly>. So {friend} reached into a <narrow> hole, [slowly/up to the elbow/with closed eyes/<like>].
- Out came a <fine> thread, and at its end hung a key of {material}. "At last," <said> {guard}<softly>.
  And {fhe} pulled out <trifle>, and then a key of {material}. {guard} felt <glad>.
- {who} turned the key. There [was/came/followed] <sound>, and <sound>, and then, <like>, came {tune}.
- In {room2} <someone> heard it and began to dance, and {guard} danced with {who}'s {kin}.
  {guard} took {who}'s {kin} by the hand, and they danced <likes>, past <number> <fine> <sight>.

+ recall
- Now {who} or {friend} turns the key every {weekday}, and <someone> always [dances/hums/cries/claps].
  That night {who} hummed {tune} <like>, and so, <number> streets away, did {friend}.
  The card next to the {colour} {shape} now says, "Key found by {friend} and {who}, on {weather|a} {weekday}."
"""

BIRTHDAY = """
- It was {who}'s birthday, but at breakfast there [was/lay/waited] only <trifle> on {his} plate, and nobody sang.
  {who} woke up on {weather|a} {weekday}. It was {his} birthday! But nobody said a word, and {he} felt <low>.
- "We are going to the <big>museum with {friend}," was all that {his} {kin} <said><softly>.
+ carry
- In {room} they <looked> the {colour} {shape}. On it hung a <fine> letter. "[How odd/Strange/Hm]," <said> {friend}<softly>.
  On the {colour} {shape} in {room} hung a <fine> letter. {friend} took it down and <reacted>.
=> here=room
- At the {colour2} {shape2} in {room2} there was one more letter, and {friend} [coughed/looked away/whistled] <like>.
=> here=room2
- "Is this a [game/puzzle/joke/secret/riddle]?" <asked> {who}<softly>. "[Maybe/Who knows/I cannot say]," <said> {friend}<softly>.
+ turn

- At last they came to {room3}. It was dark, and there [was/came/followed] <sound>. "You go first," <said> {friend}<eagerly>.
  Only {room3} was left. Behind its <fine> door there [was/came/followed] <sound>, and {who} felt <low>.
=> here=room3
- Then <number> lamps went on. "[Surprise/Happy birthday/Hooray]!" [cried/called/shouted/gasped] {count} voices, and <someone> played {tune}.
- There stood a cake, {colour3|a} {shape3} with {treasure} all round, and the letters on it said "{who}".
- "I thought you had forgotten me," <said> {who}<softly>. "I nearly told you at the {colour2} {shape2}," <said> {friend}<gladly>.
  "You remembered!" <said> {who}<gladly>. "For <number> days," <said> {friend}<proudly>.

+ recall
- {who} blew out <number> candles, looked at {friend} and felt <glad>.
  When the last piece of the {colour3} {shape3} was eaten, {who} felt <glad> and thanked <someone>.
  "And when is yours?" {who} asked {friend}<softly>. {he|cap} had a plan already, with <number> <fine> <sight> in it.
"""

PLOTS = {
    "forbidden_touch": FORBIDDEN_TOUCH,
    "shy_guide": SHY_GUIDE,
    "memory": MEMORY,
    "music_box": MUSIC_BOX,
    "birthday": BIRTHDAY,
}
