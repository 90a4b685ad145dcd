"""`rag train`: small cross-lingual embedding models in BGE-M3's layout, distilled from an English teacher.

The method is Reimers and Gurevych's multilingual knowledge distillation (EMNLP 2020): a student learns to put a
sentence and its translation where an English teacher puts the English one. Importing a module of this room may load
torch; commands import it late.
"""
