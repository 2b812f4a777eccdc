"""The paper's language-model figures: Table 2, drawn as Figure 5. Transcribed digit by digit.

Cai et al. 2019, "Model Slicing for Supporting Complex Analytics with Elastic Inference Cost", section 5.2: two LSTM
layers on the Penn Treebank, test perplexity.
"""

SOURCE = "Cai et al. 2019, Model Slicing, section 5.2: Table 2 and Figure 5"
SETTING = "Penn Treebank, vocabulary 10,000, embedding 650, two LSTM layers of 640 units"
LOWER_BOUND = 0.375

RATES = (1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25)
COMPUTATION = (100.0, 76.56, 56.25, 39.06, 25.00, 14.06, 6.250)  # percent of the whole network's
PERPLEXITY = {
    "NNLM-1.0": (81.58, 85.23, 91.04, 99.68, 116.5, 155.5, 298.8),
    "NNLM-0.375": (81.12, 82.02, 83.10, 85.25, 88.92, 97.02, 128.8),
    "NNLM-fixed": (81.58, 81.66, 81.78, 81.83, 84.13, 88.08, 96.69),
}
# Our system that each of its rows stands beside.
BESIDE = {"NNLM-1.0": "lb-1.0", "NNLM-0.375": "sliced-dense", "NNLM-fixed": "separate"}
EVERY_SIXTEENTH = tuple(k / 16 for k in range(4, 17))
EVERY_EIGHTH = tuple(k / 8 for k in range(2, 9))
