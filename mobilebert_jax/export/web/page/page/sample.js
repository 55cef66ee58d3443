// A text to begin with, and what to ask about it.

export const SAMPLE = {
  question: "What does shuffle do?",
  text: `random
Random numbers for games, samples and tests.

seed
Start the generator from a number that you choose.

choice
Pick one element from a sequence that is not empty.

shuffle
Mix the elements of a list in place.

sample
Return a number of different elements from a population.

uniform
Get a number between the two limits that are given.

json
Texts that other programs can read.

dump
Write an object to a file as text.

loads
Read an object from a string.

shutil
Copying and removing files, and whole folders of them.

copytree
Copy a folder and all that it holds to another place.

rmtree
Delete a folder with everything below it.

disk_usage
Return how much of a disk is used, and how much is free.`,
};
