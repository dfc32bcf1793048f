"""The classifier that ships with the package: weights, and ten digit images to try it on.

It knows single handwritten digits and nothing else.  The digits are from "Optical Recognition of Handwritten Digits",
E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998, doi:10.24432/C50P49, licence CC BY 4.0.  The script
that made both files is `tools/train_demo` in the repository.
"""
