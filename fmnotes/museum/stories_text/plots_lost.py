"""Plots about what is lost and found: a ticket, a child, an umbrella, a letter, an exhibit."""

LOST_TICKET = """
+ opening
+ carry
+ turn
- At the door <someone> gave them <little>tickets for the {show}, and on each one shone the {colour} {shape}.
  They [bought/were given/picked up] <little>tickets for the {show}, with <royal> on one side and the {colour} {shape} on the other.
+ turn

- But when they <ran> to {room} for the {show}, {who} found only <trifle> in {his} [pocket/bag/sleeve/hat/shoe/glove].
  <then>they <ran> to {room} for the {show}, past <number> <fine> <sight>, but {who}'s ticket was [gone/not there/lost].
- "I had it [a moment ago/only just now/all the time/in my hand]," <said> {who}<sadly>.
  "[Now you must go in without me/I cannot go in/I have lost it/It must have slipped out]," <said> {who}<sadly>.
- "[Think/Wait/Never mind/Close your eyes]," <said> {friend}<softly>. "Where did you [see/hold/feel] it last?" {who} <reacted>.
- "By the {colour2} {shape2} in {room2}," {he} <said><eagerly>. So they <ran> back <like>.
=> here=room2
- They [looked/searched/peered] {spot}, and [found/saw/picked up] <trifle>. They [looked/searched/peered] {spot2}, and [found/saw/picked up] <trifle>.
  {friend} [looked/searched/peered] {spot} and {who} {spot2}, but there [was/lay/waited] only <trifle>.
- <suddenly>there [was/came/followed] <sound>, and past <someone> flew a ticket with the {colour} {shape}!
  <suddenly>{friend} <reacted>. Behind a <fine> <scrap> lay the ticket with the {colour} {shape}!

+ recall
- They were just in time, next to <someone>, and {who} held the ticket <like> until the {show} was over.
  The {show} was <nice>. But when people asked what had been best, {who} only <said><proudly>, "{friend}."
  {who} put the ticket into a <fine> box, sat down beside {friend} <like>, and felt <glad>.
"""

LOST_CHILD = """
- One {weather} {daytime} {who} had to look after {his} little {sibling} {friend} at the <big>museum.
  {who} had a little {sibling} called {friend}, who got lost <like>. One {weather} {weekday} they went to the <big>museum.
+ carry
+ turn
- "I want to see the {colour} {shape}!" <said> {friend}<eagerly>. "[Later/Soon/After lunch/In a minute]," <said> {who}<softly>.
  {friend} [talked/sang/dreamed] of nothing but the {colour} {shape}. "[Later/Soon/After lunch/In a minute]," <said> {who}<softly>.
- But while {who} <looked> <number> <fine> <sight> in {room}, {friend} [vanished/ran off/slipped away] <like>.
  In {room} {who} stopped to [draw/greet/look at/laugh at] <royal>, and when {he} turned round, {friend} was [gone/not there/nowhere].
=> here=room

- "{friend}!" {he} called<sadly>. {he|cap} [looked/searched/peered] {spot}. There [was/lay/waited] <trifle>, and <sound>, but no {friend}.
  {he|cap} felt <low>. {he|cap} called {friend}'s name {spot} and {spot2}, but only <someone> answered.
- In {room2} {he} met {guard}, a <gentle>guard in <attire>. "I have lost my {sibling}," <said> {who}<sadly>.
=> here=room2
- "Nobody stays lost here," <said> {guard}<softly>. "What does {friend} like [best/most of all]?"
  {guard} gave {him} <trifle> to hold. "What did {friend} want to see?" {ghe} <said><softly>.
- {who} <reacted>. "The {colour} {shape}!" {he} <said><eagerly>. So they <ran> to {room3}<walking>.
=> here=room3
- And there sat {friend} [under/beside/behind] the {colour} {shape}, as happy as <creature>, and played with <trifle>.
  There was {friend}, [talking/singing] to the {colour} {shape} and to <someone>.
- "I was not lost," <said> {friend}<proudly>. "You were." {guard} <reacted>.
  "You were away so long," <said> {friend}<softly>. {who} felt <glad>.

+ recall
- After that {who} never said "later" again, not even for <number> <fine> <sight>.
  {who} hugged {friend} <for_a_while>. "Next time we start with the {colour} {shape}," {he} <said><softly>.
  "Goodbye, {guard}," <said> {who}<gladly>, and {he} did not let go of {friend}'s [hand/sleeve/hood] until they were home.
"""

UMBRELLA = """
- It [rained/poured/drizzled/hailed] on <someone> and on {who} and {friend}, so they <ran> into the <big>museum.
  On a rainy {weekday} {who} and {friend} <ran> into the <big>museum, as wet as <creature>.
- {who} shook {his} umbrella, which had {pattern} on it, and left it in a <fine> stand, next to <trifle>.
  {who}'s umbrella was new. It had {pattern} on it, and {he} hung it up beside <number> <fine> <sight>.
+ carry
- In {room} they <looked> the {colour} {shape}, and in {room2} <number> <fine> <sight>.
=> here=room2
+ turn

- But at the door there were only {pattern2}. "That is not mine," <said> {who}<sadly>, and felt <low>.
  <suddenly>{who} <reacted>. The {pattern} were gone. In the stand, <like>, hung {pattern2}.
- "Whoever owns the {pattern2} has your {pattern}," <said> {friend}<softly>. "Let us ask." So they asked <someone>, who <reacted>.
- They asked <someone>. "No." They asked <someone>. "No[/, but I like it/, mine is black/, sorry]."
  They [looked/searched/peered] {spot} and {spot2}, and found nothing but <trifle>.
- <then>they saw <someone> in {room}, near the {colour} {shape}, with the {pattern} under one arm.
  But near the {colour} {shape} in {room} sat <someone> with <trifle>, and there were the {pattern}.
=> here=room
- "[Oh dear/Goodness/Forgive me]," said the stranger<sadly>. "[My eyes/My glasses/My poor head]!" They all shared {food} with <someone>.
  The stranger <reacted>. They ate {food} together, laughed <likes>, and changed {pattern} for {pattern2}.

+ recall
- Outside, {pattern} and {pattern2} went down the street <likes>.
  From then on {who} hung <trifle> on {his} umbrella, and thought of the {pattern2} whenever it rained.
  "I hope it rains next {weekday} too," <said> {friend}<gladly>, and {who} <reacted>.
"""

LETTER = """
+ opening
+ carry
- [Behind/Above/Under/Beside] {room} there was a <fine> book room, and {friend} loved books as <creature> loves [hay/milk/mud/honey].
  {friend} wanted to read, so they <went> past {room} and past <someone> to the book room of the museum.
=> here=room
- In a <fine> book about {subject}, beside <trifle>, lay a letter. "[Look/A letter/Listen/Oh]," <said> {friend}<eagerly>.
- "Dear finder," it said, "I am {third} and I am {count} years old. Go to the {colour} {shape} and look {spot}."
  {who} read aloud<softly>, "If you love {subject}, look {spot}, near the {colour} {shape}. Your {third}, {count} years old."
+ turn

- <then>they <went> to {room2}, where the {colour} {shape} was, and [looked/searched/peered] {spot}. There [was/lay/waited] <trifle>, and a <fine> box.
  The {colour} {shape} was in {room2}. {who} <reacted>, {friend} [looked/searched/peered] {spot}, and with <sound> a <fine> box opened.
=> here=room2
- "{treasure|cap}!" <said> {friend}<eagerly>. A note said, "Take some, {third}." So {friend} left <trifle>, and {who} a picture of <creature>.
  In it lay {treasure} and a note: "Take some, {third}." So {friend} left <trifle>, and {who} a picture of <royal>.
- They asked {guard}, the <gentle>librarian, who {third} was. {guard} <reacted>.
  At the desk sat {guard}, the <gentle>librarian, in <attire>. "{third}?" {ghe} <said><softly>, and felt <low>.
- "That was my [best/first/dearest] friend," {ghe} <said><softly>, "but {third} moved to {town} {span} years ago."

+ recall
- That night {guard} <reacted> and wrote a letter to {town}. It began, "Dear {third}, two children in <attire> and <attire> came today."
  And <number> weeks later {third} sent {treasure} from {town} for {who} and {friend}, in a <fine> parcel.
  So the letter went back into the book about {subject}, next to <trifle>, and {guard} wrote to {town} and felt <glad>.
"""

MISSING_EXHIBIT = """
+ opening
+ carry
- They had come to see the {colour} {shape}, which {who} had drawn <number> times, once even on <trifle>.
  In the bus <someone> had told {who} about the {colour} {shape}, and {he} [could hardly wait/dreamed of it/thought of nothing else].
- But in {room} there was only a <fine> stand. "[Stolen/A thief/A robber/Gone]!" <said> {friend}<eagerly>.
=> here=room
- {spot|cap} they [found/saw/picked up] <trifle> and [wet/tiny/dusty/strange/muddy/soapy] footprints, like those of <creature>.
  {who} [found/saw/picked up] <trifle> {spot}. "A clue!" {he} <said><eagerly>.
- The trail led past the {colour2} {shape2} and <number> <fine> <sight> to {room2}, and there they heard <sound>.
  They followed it<walking>, past the {colour2} {shape2}, into {room2}. Behind a <fine> door there [was/came/followed] <sound>.
=> here=room2
+ turn

- There stood a stranger in <attire>, and beside a <fine> bucket lay the {colour} {shape}.
  A stranger was [washing/scrubbing/brushing/tickling] the {colour} {shape} in a <fine> tub and humming <like>.
- "[Stop/Hands up/Halt], thief!" [cried/called/shouted/gasped] {who}<eagerly>. "But I am {guard}," said the stranger<softly>. "I wash [old/tired/dusty] things."
- {who} felt <low>. "[Sorry/We thought it was stolen/We are silly]," {he} <said><sadly>.
  {who} [turned/went] as red as <creature> in a bath. "Sorry," {he} <said><sadly>.
- But {guard} gave {who} a <fine> sponge and {friend} a <fine> brush, and they washed it together until there [was/came/followed] <sound> at the door.
  "Good detectives are rare," <said> {guard}<softly>, and gave each of them a <fine> brush and {food}.

+ recall
- The next {weekday} the {colour} {shape} was back. "We did that corner," <said> {who} to <someone><proudly>.
  On the stand they left <trifle> and a note: "It is having a bath. {who} and {friend}."
  Now, whenever <trifle> or <trifle> is missing, {guard} calls {who} and {friend}.
"""

PLOTS = {
    "lost_ticket": LOST_TICKET,
    "lost_child": LOST_CHILD,
    "umbrella": UMBRELLA,
    "letter": LETTER,
    "missing_exhibit": MISSING_EXHIBIT,
}
