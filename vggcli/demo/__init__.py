"""The classifier that ships with the package: weights, ten digit images to try it on, and the script that made both.

It knows single handwritten digits and nothing else; `vggcli.demo.data` names the source and the licence of the data.
"""
