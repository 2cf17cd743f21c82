#pragma once
/// What the page calls, and a native program just as well.

extern "C" {

enum WeighBy { by_softmax, by_sparsemax, by_entmax15, by_sigmoid };

/// Where the page writes its text: so many bytes of UTF-8.
char* text_buffer();
int text_capacity();

/// Reads so many bytes of the text; returns how many tokens there are, 64 at most.
int read_text(int bytes);
/// Where in the text a token begins and ends.
int token_begin(int token);
int token_end(int token);

int head_total();
float head_slope(int head);

/// The weights of all heads, (heads · tokens) × tokens, row by row.
///
/// scale       multiplies the scores
/// cap         soft cap of the scores, 0: none
/// window      how many tokens away a query looks, itself counted, 0: any
/// causal      whether it looks back only
/// bias        softmax: the sink's logit, −∞: none; sigmoid: its bias
const float* attend_to(float scale, float cap, int window, bool causal, WeighBy weigh_by, float bias);
/// Sums of the rows of weights, tokens × heads, of the last call.
const float* row_sums();

/// The last head learns from the text for so many steps; returns the loss before the last of them, 0: there is nothing
/// to learn from.
float learn(int steps);
/// And is again as chance made it.
void forget();
}
