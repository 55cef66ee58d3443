// A text to begin with, and what to ask about it.

export const SAMPLE = {
  question: "What does shuffle_list do?",
  text: `get_seed
Return the number that the generator was started with.
pick_one
Choose an element of a sequence at random.
shuffle_list
Put the elements of a list in random order.
draw_sample
Choose several elements without taking one twice.
Deck.deal
Give each player a hand of cards.
Deck.cut
Divide the cards into two piles of equal size.
roll_dice
Throw a pair of dice and add the numbers.
save_state
Write the state of the game to a file.
load_state
Read the state of a game from a file.
Timer.start
Begin to count the seconds of a turn.
Timer.stop
End the turn and return the time it took.
play_sound
Play a short sound when a player wins.`,
};
