"""The generator of the embedded synthetic set: bodies, motions, actions, a sensor, images and answers.

``scene.make_clip`` makes one clip; a new class is a row of the table in ``actions``, made of the moves in ``motions``.
"""
