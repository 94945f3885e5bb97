"""Plots of small adventures: a storm, a bird, a night guard's friend, a balloon, a lift that stops."""

STORM = """
- When {who} and {friend} came to the <big>museum, the sky was as dark as <creature>, and it began to thunder.
  {who} and {friend} had just come into the <big>museum with <someone> when the storm began.
+ carry
- In {room} they <looked> the {colour} {shape} and <number> <fine> <sight>.
  They were in {room}, before the {colour} {shape}, and the wind howled <like> in the [chimney/windows/roof].
=> here=room
- "I am not [afraid/scared] of [thunder/storms/lightning]," <said> {friend}<softly>, and <reacted>.
+ turn

- Then came <sound>, and then <sound>, and all the lights went out.
  <suddenly>all the lights went out. Close by <someone> screamed, and there [was/came/followed] <sound>.
- {who} felt <low>, but took {friend}'s hand. "What was the {colour} {shape} like?" {he} <said><softly>.
  "Hold my hand," <said> {who}<softly>. "What was the {colour} {shape} like?" {friend} <reacted>.
- "As {colour} as {like}," <said> {friend}<softly>, "and made of {material}."
- "And {count} steps on, the {colour2} {shape2}, and then {room2}." So they felt their way <likes>.
=> here=room2
- Behind them came <someone> and <someone>, hand in hand, a whole chain, and {friend} led them past <number> <fine> <sight>.
  They met a lost child, as small as <creature>, who took {friend}'s other hand.
- In {room2} stood {guard}, the <gentle>guard, with a <fine> [candle/lantern]. "Who was so brave?" {ghe} <said><softly>.
- "{friend} was," <said> {who}<proudly>. "{who} was," <said> {friend}<proudly>. And the lights came back with <sound>.

+ recall
- When it thunders now, {who} and {friend} hold hands and think of the {colour} {shape} and <number> <fine> <sight>.
  "I like storms," <said> {friend} on the way home<softly>. "[A little/Some storms/With you/From inside]." {who} <reacted>.
  Outside it smelled of <smell>, and {who} and {friend} felt <glad>.
"""

BIRD = """
+ opening
+ carry
- In {room} {bird|a} [flew/shot/whirred/tumbled] past <someone> and could not find the way out.
  <suddenly>{bird|a} flew into {room}, over <number> <fine> <sight>, and could not find the way out.
=> here=room
- With <sound> it hit a <fine> lamp, and then it sat down on the {colour} {shape} and trembled <like>.
  It circled <number> <fine> <sight>, and then it sat down on the {colour} {shape} and trembled.
- "Shoo!" cried <someone>, and waved <attire>. The {bird} [shook/fluttered/cried] in fear.
- "They will hurt it," <said> {friend}<sadly>. {who} <reacted> and sat down on the floor.
  "Please stop!" <said> {who}<eagerly>, and sat down on the floor <like>.
- {friend} sat down too, and then <someone>, and then <someone>, until it was quiet.
- "What would we want if we were {bird|a}?" <asked> {who}<softly>. "[Quiet/Sky/Air/Peace] and {food}," <said> {friend}<softly>.
+ turn

- {friend} laid a trail of {food} to a <fine> window, and {guard}, the <gentle>guard, opened it.
- They waited. There [was/came/followed] <sound>. Then the {bird} ate [one crumb/two crumbs/three crumbs], nearer and nearer to the light.
  {who} counted <number> <fine> <sight>. Then the {bird} hopped down and ate [one crumb/two crumbs/three crumbs].
- On the sill it sang <like>, and then it was gone, into the {weather} sky.
  It sang <number> notes, and then it was gone, past a <fine> chimney.

+ recall
- Now the {bird} sings outside {room} every {weekday}, to <someone>, <like>.
  {who} kept a feather, and {friend} <trifle> from under the {colour} {shape}.
  At home {who} put {food} and <trifle> on {his} window sill. "It may have friends," {he} <said><softly>.
"""

NIGHT_GUARD = """
- At night, when <someone> had left as the last visitor, {guard} went alone through {room} with a <fine> lamp.
  {guard} was the night guard, <mild> and <mild>. Every night {ghe} <went> through {room} <like>, past <number> <fine> <sight>, all alone.
- "Good evening," {ghe} said to the {colour} {shape}<softly>. It never answered, and {guard} felt <low>.
- One {night} night {ghe} sat down {spot} to eat {ghis} {food}. There [was/came/followed] <sound>, and then <sound>.
- It was {animal|a}, and it looked at {ghim} <like>. "Are you lonely too?" <asked> {guard}<softly>.
  In the light sat {animal|a} with <trifle>. "You are hungry," <said> {guard}<softly>.
- {ghe|cap} called it {pet}, and they shared the {food} and <trifle> <likes>.
- From then on {pet} came every night. {guard} told {pet} about {town}, and {pet} <reacted>.
  After that they made the round together, {guard} in front, {pet} behind, past <number> <fine> <sight>.

- But one {night2} night {pet} [ran in circles/bit {ghis} sleeve/sneezed/sang] and would not stop. {guard} <reacted>.
- In {room2} there [was/came/followed] <sound>, and [smoke/water/steam] came out behind the {colour2} {shape2}. "Well done, {pet}," <said> {guard}<eagerly>.
  "What is it, {pet}?" <asked> {guard}<eagerly>. In {room2} {ghe} saw [smoke/water/steam] behind the {colour2} {shape2}.
- {ghe|cap} pulled the {colour2} {shape2} out on a <fine> cart, past <number> <fine> <sight>. {pet} ran ahead <like>.
  {ghe|cap} wrapped the {colour2} {shape2} in <attire> and <ran> to {room}, and {pet} <reacted>.
- "[No animals/No pets] here," <said> the director at dawn<softly>, "but night guards, yes. {pet} needs <attire>."

- The next {weekday} {guard} told it all to a child called {who}, who <reacted>, and to <someone>.
  If you come to {room}, look for <trifle> beside the {colour} {shape}. It belongs to {pet}, the second night guard.
  And every night {guard} says to the {colour} {shape}<softly>, "Good evening." And now {pet} answers with <sound>.
"""

BALLOON = """
+ opening
- Outside, <someone> sold balloons, and {who} got {colour3|a} one [for <number> pennies/in exchange for <trifle>].
  {who} had a balloon, as {colour3} as {like3}. "Hold it tight," <said> {who}'s {kin}<softly>.
+ carry
- But in {room}, as {who} <looked> the {colour} {shape}, there [was/came/followed] <sound>, and the string was gone.
  In {room} {who} [waved/bowed/pointed] to the {colour} {shape} and to <someone>, and forgot the string.
=> here=room
- "My balloon!" [cried/called/shouted/gasped] {who}<sadly>. It rose past <number> <fine> <sight>, to the ceiling.
  Up went the {colour3} balloon, <like>, to the ceiling.
- {friend} jumped <number> times. {fhe|cap} came as near to it as <creature> to [the moon/a cloud/a star].
  Then <someone> tried with [a broom/an umbrella/a fishing rod], and <someone> with <trifle>.
+ turn

- {who} sat down {spot} and felt <low>. "[It is gone/It looks so lonely/It was my first]," {he} <said><sadly>.
- "It will get tired," <said> {friend}<softly>. "We can wait with it. I have {food}."
  {friend} sat down beside {him} and opened {fhis} {food}. "Then we keep it company," {fhe} <said><softly>.
- They looked up. Somebody had painted {animal|a} in <attire> up there.
  They looked up, and found <royal> and {animal|a} on the painted ceiling.
- "Are you ill?" <asked> a <gentle>guard called {guard}<softly>. "We are waiting," <said> {who}<softly>. So {guard} lay down too.
  {guard}, a <gentle>guard, came and looked up, and <reacted>. In {span} years {ghe} had never looked up.
- And <hour>, the balloon came down <like>, right into {who}'s [arms/lap/hands].
  And <hour>, the string [touched/tickled/brushed] {who}'s nose. "It is here!" <said> {friend}<eagerly>.

+ recall
- At the door <someone> was crying. {who} looked at the {colour3} balloon, and at {friend}, and gave it away.
  {who} gave {friend} the {colour3} balloon. "Today it is yours," {he} <said><softly>, and {friend} <reacted>.
  On the way home the {colour3} balloon hung behind them, as tired as <creature>, and {who} felt <glad>.
"""

LIFT = """
+ opening
+ carry
- "The {colour} {shape} is in {room}, [five/six/seven/eight] floors up," <said> {friend}<softly>. "Let us take the lift."
- With them in the lift were {worker|a} with {hamper|a}, and {guard}, a <gentle>guide.
  {guard}, a <gentle>guide, came in too, and so did {worker|a} with {hamper|a}.
- The lift rose <like>, passed <number> <fine> <sight>, and stopped with <sound> between two floors.
- "[There is no air/I want to get out/I do not like small rooms]," <said> {friend}<sadly>, and felt <low>.
  {friend} pressed the button <number> times and felt <low>. "[We are stuck/Help]," {fhe} <said><sadly>.
- "Breathe with me," <said> {who}<softly>. "In, and out." {friend} <reacted>.

- "Tell us about the {colour} {shape}, {guard}," <said> {who}<eagerly>. {guard} <reacted>.
- "It is as {colour} as {like}," <said> {guard}<softly>, "and it belonged to <royal> in {town}, who loved {animal|a}."
  "{age|cap} years ago," <said> {guard}<softly>, "it was made in {town}, of {material}, for <royal>."
- The {worker} opened the {hamper}. In it, under <trifle>, were {food}, and they shared them.
  The {worker} <reacted>, opened the {hamper}, and gave them all some {food}.
- They sang {tune} <likes>, and it sounded <nice>.
- With <sound> the lift went up, and the door opened on {room}. "[Already/So soon/What a pity]," <said> {friend}<sadly>.
=> here=room

+ recall
- Every {weekday} now they meet {guard}, the {worker} and <someone> there for {food}.
  And they went down again. "In the lift," <said> {friend}<proudly>, and {who} <reacted>.
  "Whenever I am afraid now," <said> {friend}<softly>, "I hum {tune}." {who} <reacted>.
"""

PLOTS = {"storm": STORM, "bird": BIRD, "night_guard": NIGHT_GUARD, "balloon": BALLOON, "lift": LIFT}
