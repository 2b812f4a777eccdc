"""The paper's figures for images: Table 3, part of which Figures 2, 4 and 6 draw. Transcribed digit by digit.

Cai et al. 2019, "Model Slicing for Supporting Complex Analytics with Elastic Inference Cost", section 5.3. Figures 2 to
4, 7 and 8 print no numbers beyond these.
"""

SOURCE = "Cai et al. 2019, Model Slicing, section 5.3: Table 3"
SETTING = "VGG-13 on CIFAR-10 at full width, 50,000 images, 300 epochs"
LOWER_BOUND = 0.375

IMAGENET_SETTING = (
    "VGG-16 on ImageNet-12 at full width, 1.2 million images, 90 epochs, one sliced network, "
    "judged on the centre 224x224 of its 50,000 validation images"
)

RATES = (1.0, 0.9375, 0.875, 0.8125, 0.75, 0.6875, 0.625, 0.5625, 0.5, 0.4375, 0.375, 0.3125, 0.25)
COMPUTATION = (100.0, 87.89, 76.56, 66.02, 56.25, 47.27, 39.06, 31.64, 25.00, 19.14, 14.06, 9.77, 6.25)  # percent
ERROR = {  # percent
    "VGG-13-1.0": (5.626, 8.110, 12.45, 18.37, 32.07, 42.04, 55.82, 73.09, 78.63, 83.65, 87.77, 89.73, 89.81),
    "VGG-13-0.375": (5.650, 5.800, 5.840, 5.870, 5.780, 5.910, 6.120, 6.680, 7.440, 7.74, 8.620, 28.14, 65.23),
    "VGG-13-fixed": (5.626, 5.766, 5.894, 6.068, 6.084, 6.142, 6.208, 6.600, 6.614, 6.894, 7.148, 7.690, 8.374),
}
IMAGENET_ERROR = {  # percent; the lower bound is not printed, the errors jump below 0.375
    "VGG-16 top1": (29.71, 29.82, 30.13, 30.56, 31.11, 31.84, 33.22, 35.02, 37.01, 38.76, 39.89, 99.65, 99.86),
    "VGG-16 top5": (10.47, 10.44, 10.69, 10.92, 11.30, 11.70, 12.40, 13.52, 15.01, 15.35, 16.71, 98.64, 99.27),
}
