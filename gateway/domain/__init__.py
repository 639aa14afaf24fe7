"""What is true of prompts, workers and graphs: values and total functions, standard library only."""
