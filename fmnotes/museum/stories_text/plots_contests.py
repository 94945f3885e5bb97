"""Plots in which something is decided: a drawing contest, a treasure hunt, a bet, a trade, a vote."""

CONTEST = """
+ opening
+ carry
+ turn
- In {room} <someone> called, "Who [wants to/can/dares to/likes to] draw? The first prize is {prize}!"
  In {room}, between <number> <fine> <sight>, hung a sign: "Drawing contest! First prize: {prize}."
=> here=room
- {who} chose the {colour} {shape}, and {friend} sat down <like> before the {colour2} {shape2}.
  "I will draw the {colour} {shape}," <said> {who}<gladly>. "And I the {colour2} {shape2}," <said> {friend}<gladly>.
- <suddenly>there [was/came/followed] <sound>: {who}'s pencil had broken. "[Now it is over/That was my only one]," {he} <said><sadly>.
  But then {who}'s pencil broke with <sound> and rolled under <someone>. {he|cap} felt <low>.
- {friend} had only one pencil too, and {fhe} wanted {prize} as <creature> wants [food/water/sleep/its bed]. {fhe|cap} <reacted>.
- "Here," {fhe} <said><softly>, broke {fhis} own pencil in two, and gave {who} the [half with the point/longer half/better half].
  Then {fhe} broke it in two with <sound> and gave {who} the better half. "We share," {fhe} <said><softly>.

- <then>the judge, {guard}, came by in <attire>, <looked> every picture and <reacted>.
- "I have never seen so [good/lively/bold/wild/tender/funny] a picture," <said> {guard}<softly>. "{winner} has won!"
  "The first prize goes to {winner}," <said> {guard}<proudly>, "and not to <creature>, as last year."
+ judge_contest
- if winner=who: In {who}'s picture the {colour} {shape} seemed to [glow/dance/float/breathe/sing/laugh] among <number> <fine> <sight>.
  if winner=friend: In {friend}'s picture the {colour2} {shape2} seemed to [glow/dance/float/breathe/sing/laugh] among <number> <fine> <sight>.
- {loser} felt <low> for one breath, and then [clapped/cheered/stamped/whistled] louder than <someone>.
  "[Hurrah/Hooray/Bravo] for {winner}!" [cried/called/shouted/gasped] {loser}<gladly>, and {winner} <reacted>.

+ recall
- {winner} gave half of {prize} to {loser}. "We won this with one pencil," {he_winner} <said><softly>.
  And so they shared {prize}, and {winner} gave {loser} <trifle> as well.
  Both pictures hang in {who}'s [room/kitchen/hall/tree house] now, between <number> <fine> <sight>.
"""

HUNT = """
+ opening
- At the door {guard}, a <gentle>guard in <attire>, gave them a <little>card. "It leads to a treasure," {ghe} <said><softly>.
  "You look as clever as <creature>," <said> {guard}, the <gentle>guard, and gave them a <little>card.
- It said, "{hint}, and I am as {colour} as {like}. [Find me in/Come to/Look for me in] {room}."
  {who} read it aloud<softly>: "Look in {room}. {hint}, and I am as {colour} as {like}."
+ solve
+ carry
- They <ran> to {room} and [looked/searched/peered] {spot}. There [was/lay/waited] <trifle>. "[Not that/Too small/No/Ugh]," <said> {friend}<softly>.
  They <ran> to {room}, past <number> <fine> <sight>. {friend} <reacted>.
=> here=room
- "[There/That is it/I see it/I have it]," <said> {who}<eagerly>. It was the {colour} {shape}, and beside it lay <trifle> and a second card.
- "{hint2}," it said. "I am as {colour2} as {like2}. I live in {room2}."
+ solve2
+ turn

- In {room2} there were <number> <fine> <sight>, and {who} felt <low>. "[We will never find it/I give up/It is too hard]," {he} <said><sadly>.
=> here=room2
- But {friend} drew a {shape2} in the dust. "[Look/See/Think/Read it again]," {fhe} <said><softly>.
  "Read it [again/once more/slowly/backwards]," <said> {friend}<softly>. "That can only be a {shape2}."
- "The {colour2} {shape2}!" <said> {who}<eagerly>. Under it stood a <fine> box full of {treasure}.
  {who} <reacted>, and there was the {colour2} {shape2}, next to <someone>. A <fine> thread led to a box full of {treasure}.

+ recall
- "Was it hard?" <asked> {guard}<softly> at the door. "Only the {shape2}," <said> {who}<proudly>, "but {friend} can think."
  For {guard} they wrote a new card: "I am as good as <creature>, and wear <attire>." {guard} <reacted>.
  At home {who} hid the {treasure} in a <fine> sock and drew a {shape2} on a card for {friend}.
"""

BET = """
+ opening
+ carry
- In {room}, among <number> <fine> <sight>, the {colour} {shape} and the {colour2} {shape2} stood [side by side/close together/face to face].
  They came to {room}, where <someone> was drawing the {colour} {shape} and the {colour2} {shape2}.
=> here=room
- "The {colour} {shape} is older," <said> {who}<proudly>. "[No/Never/Nonsense], the {colour2} {shape2} is," <said> {friend}<proudly>.
- "Shall we bet?" <asked> {friend}<eagerly>. "The loser gives up the {food}." They shook hands.
  "I bet you my {food}," <said> {who}<eagerly>. "[Good/Done/Agreed/You will be sorry]," <said> {friend}<proudly>.
- They argued <likes>, louder and louder, until <someone> dropped <trifle>.
  Soon they were so loud that <someone> woke up with <sound>, and {who} would not look at {friend}.

- {guard}, a <gentle>guide in <attire>, came by. "[What is the matter/Why so loud/Who is fighting/May I help]?" {ghe} <said><softly>.
- "The {colour} {shape} is {age} years old," <said> {guard}<softly>, "the {colour2} {shape2} {age2}."
  "The {colour2} {shape2} is {age2} years old," <said> {guard}<softly>, "the {colour} {shape} {age}."
+ judge_bet
- {winner} had won and danced <like>. {loser} felt <low> and <reacted>.
  So {loser} had lost. "I told you so," <said> {winner}<proudly>. {loser} <reacted>.
- "But {town} made them both, out of {material}," <said> {guard}<softly>, "and {town} still [argues/sings/fights] about it."
  "And do you know who made them?" <asked> {guard}<softly>. "Two [friends/sisters/brothers] in {town}, who quarrelled <like>."
- {loser} held out the {food}. "[We share/Half each/Only if you eat too]," <said> {winner}<softly>, and gave {loser} <trifle> as well.

+ recall
- They still argue about [clouds/soup/cats/kites/socks/comets] and <sight>, but never about the {colour} {shape}.
  "And who is older, {who} or {friend}?" <asked> {who}'s {kin}<softly>. {friend} <reacted>.
  "I bet <trifle> that we come back," <said> {friend}<gladly>. "No bet," <said> {who}<gladly>.
"""

TRADE = """
- {who} and {friend} collected museum stickers in a <fine> box, next to <trifle>.
  {who} and {friend} loved museum stickers as <creature> loves [mud/milk/hay/honey/snow/sleep].
- {who}'s best one was the {colour} {shape}, a present from {his} {kin}. {friend}'s was the {colour2} {shape2}.
+ carry
- One {weather} {daytime} they met in {room}, {spot}. "Shall we trade?" <asked> {friend}<eagerly>.
  On {weather|a} {weekday} they met in {room}, {spot}. "I [want/would like/dream of] yours," <said> {friend}<eagerly>.
=> here=room
- {who} <reacted>. "[Done/Agreed/All right/Yes/Why not]," {he} <said><softly>, and gave the {colour} {shape} for the {colour2} {shape2} and <trifle>.
+ turn

- "Where is the {colour} {shape}?" <asked> {his} {kin} that [night/evening]<softly>. {who} felt <low>.
  But that [night/evening] {who} felt <low>. {he|cap} thought of {his} {kin} and lay awake <like>.
- So {he} <ran> to {friend}'s [house/garden/window/school] with {food}, past <number> <fine> <sight>, and [knocked/rang/whistled].
  The next {weekday} {he} waited in {room}, {spot}, until {friend} came with <someone>.
- "May I have the {colour} {shape} back?" <asked> {who}<sadly>. "A trade is a trade," <said> {friend}<softly>.
  "I want to trade back," <said> {who}<sadly>. "[It is mine now/But we shook hands]," <said> {friend}<softly>.
- "I know," <said> {who}<sadly>, "but it was a present from my {kin}." {friend} <reacted>.
- {friend} thought of {fhis} own <fine> [ring/watch/cup/bear/spoon/shell], from <someone>, and felt <low>.
- "A present cannot be traded," {fhe} <said><softly>, and gave back the {colour} {shape}.
  {fhe|cap} peeled it off with <sound>. "Then it belongs to you," {fhe} <said><softly>.

+ recall
- Since then they have a <fine> album for two, with the {colour} {shape} on the first page and <creature> on the last.
  From then on they had a rule: never trade a present, not even for <number> <fine> <sight>.
  And when {who} looks at the {colour} {shape} now, {he} thinks of {friend} and feels <glad>.
"""

LATE_CLASS = """
- A school class was on its way to the <big>museum, but the bus met <number> <wet> <beasts> and stopped with <sound>.
  One {weather} {weekday} a school class was on its way to the <big>museum. But the bus went <like> and lost a wheel.
- "We will be too late," <said> {who} to {friend}<sadly>. "It closes at [five/six/four]." {friend} <reacted>.
  {who} and {friend} begged the <fine> clock to wait. "We will be too late," <said> {friend}<sadly>.
- When they got there, {guard}, the <gentle>guard, was just closing the <fine> door. "[Too late/Closed]," {ghe} <said><softly>.
  At the top of the steps stood {guard}, the <gentle>guard, in <attire>. "[Closed/Too late/We are closing]," {ghe} <said><softly>.
- {friend} stepped forward <like>. "We counted the days," {fhe} <said><sadly>. {guard} <reacted>.
  "[Please/Oh please/Just one room]," <said> {who}<sadly>. "We even saved up <trifle> for you." {guard} <reacted>.
- "{count|cap} minutes," {ghe} <said><softly>. "One thing only, and no <beasts>."

- "The {colour} {shape} in {room}!" <said> {who}<eagerly>. "The {colour2} {shape2} in {room2}!" <said> {friend}<eagerly>.
- They voted, and {winner} won by [one hand/two hands/three hands/a nose], while <someone> looked on.
  They all argued <likes>. Then they voted, and {winner} won by [one hand/two hands/three hands].
+ judge_contest
- if winner=who: They <ran> to {room}, past <number> <fine> <sight>, and <looked> the {colour} {shape}.
  if winner=friend: They <ran> to {room2}, past <number> <fine> <sight>, and <looked> the {colour2} {shape2}.
- Only {loser} stood apart, with <trifle> in {his_loser} hand, and felt <low>. {winner} saw it.
- "Please," <said> {winner}<softly>, "may {loser} see the other one too?" {guard} <reacted>.
- if loser=friend: So {who} and {friend} got [two/three/four/five] minutes more, alone with the {colour2} {shape2} and <sound>.
  if loser=who: So {friend} and {who} got [two/three/four/five] minutes more, alone with the {colour} {shape} and <sound>.

+ recall
- "You did not have to ask," <said> {loser} in the bus<softly>. "Two are better than one," <said> {winner}<softly>.
  On the way back the bus broke down again with <sound>, and {loser} and {winner} [told/drew/acted/sang] it all <likes>.
  {guard} waved <attire> until the bus was gone. "The latest class is the best," {ghe} <said><softly>.
"""

PLOTS = {"contest": CONTEST, "hunt": HUNT, "bet": BET, "trade": TRADE, "late_class": LATE_CLASS}
