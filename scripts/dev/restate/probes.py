"""Votes, ML-kNN, centroids, linear heads and logistic regression, of features and targets alone."""

import numpy as np
from chacha import Random
from scipy.special import expit, log_expit, log_softmax, softmax

TEMPERATURE = 0.07


def neighbours(keys, queries, most, left_out=None):
    """The nearest keys by inner product, of equals the first: [Q, most], and the products."""
    # Of equal images the products are equal, whatever the order of their sums.
    products = np.round(queries.astype(np.float64) @ keys.astype(np.float64).T, 12)
    if left_out is not None:
        products[np.arange(len(queries)), left_out] = -np.inf
    order = np.argsort(-products, axis=1, kind="stable")[:, :most]
    return order, np.take_along_axis(products, order, axis=1)


def votes(keys, truth, queries, k, params):
    """Scores [Q, C]: the share that the members of a class have in the neighbours' weight."""
    whole = params.get("normalised_over", k)
    order, similarity = neighbours(keys, queries, min(max(whole, k), len(keys)))
    kind = params["vote"]
    if kind == "softmax":
        weight = np.exp((similarity - similarity[:, :1]) / params["temperature"])
    elif kind == "majority":
        weight = np.ones_like(similarity)
    else:
        distance = 1 - similarity
        same = distance <= 1e-6
        weight = np.where(same[:, :1], same, 1 / np.maximum(distance, 1e-300))
    members = truth[order[:, :k]] == 1
    # Summed one after another, so that all of the weight is 1 and nothing more.
    sums = np.cumsum(weight[:, :k, None] * members, axis=1)[:, -1]
    return sums / np.cumsum(weight, axis=1)[:, -1:]


def ml_knn(keys, truth, queries, k, exclude_self):
    """Zhang and Zhou 2007, with smoothing 1: the probability of a class given how many neighbours have it."""
    n, present = len(keys), truth == 1
    own = np.arange(n) if exclude_self else None
    around = present[neighbours(keys, keys, k, own)[0]].sum(axis=1)
    counts = present[neighbours(keys, queries, k)[0]].sum(axis=1)
    scores = np.zeros(counts.shape)
    for c in range(truth.shape[1]):
        prior = (1 + present[:, c].sum()) / (2 + n)
        having = np.bincount(around[present[:, c], c], minlength=k + 1)
        lacking = np.bincount(around[~present[:, c], c], minlength=k + 1)
        with_class = prior * ((1 + having) / (k + 1 + having.sum()))
        without = (1 - prior) * ((1 + lacking) / (k + 1 + lacking.sum()))
        scores[:, c] = (with_class / (with_class + without))[counts[:, c]]
    return scores


def centroid(keys, truth, queries, single):
    keys, queries = keys.astype(np.float64), queries.astype(np.float64)
    columns = []
    for c in range(truth.shape[1]):
        cosines = []
        for state in (1, 0):
            mean = keys[truth[:, c] == state].mean(axis=0) if (truth[:, c] == state).any() else None
            cosines.append(None if mean is None else queries @ mean / max(np.linalg.norm(mean), 1e-12))
        if single:
            columns.append(np.full(len(queries), -np.inf) if cosines[0] is None else cosines[0])
        elif any(c is None for c in cosines):
            columns.append(np.full(len(queries), 0.5))
        else:
            columns.append(expit((cosines[0] - cosines[1]) / TEMPERATURE))
    scores = np.stack(columns, axis=1)
    return softmax(scores / TEMPERATURE, axis=1) if single else scores


def probabilities(logits, single, by_sigmoid):
    """Of logits [N, O]; two exclusive classes have one logit, the second's."""
    if single and logits.shape[1] == 1:
        return np.hstack([expit(-logits), expit(logits)])
    return softmax(logits, axis=1) if single and not by_sigmoid else expit(logits)


def batches(views, size, steps, seed):
    """Row numbers of each step: examples in a new order in each epoch, view `epoch mod V` of each."""
    random, order, epoch = Random(seed), [], -1
    size = min(size, len(views))
    for _ in range(steps):
        rows = []
        while len(rows) < size:
            if not order:
                epoch += 1
                order = random.shuffle(list(range(len(views))))[::-1]
            own = views[order.pop()]
            rows.append(own[epoch % len(own)])
        yield rows


def first_weights(outputs, features, seed, stream):
    random = Random(seed, stream)
    values = [0.01 * random.normal() for _ in range(outputs * features)]
    return np.array(values, np.float32).reshape(outputs, features).astype(np.float64)


def linear(x, truth, single, views, head, params, seed):
    """Weight [O, F] and bias of a head: gradient descent with momentum, the rate falling along a cosine.

    `x` and `truth` are of all rows, `views` are the rows of each example, `head` is its learning rate
    and its number in the grid.
    """
    rate, stream = head
    classes = truth.shape[1]
    outputs = 1 if single and classes == 2 else classes
    target = truth[:, 1:] if outputs == 1 else truth
    weight, bias = first_weights(outputs, x.shape[1], seed, stream), np.zeros(outputs)
    velocity, bias_velocity = np.zeros_like(weight), np.zeros(outputs)
    size = min(params["batch_size"], len(views))
    steps = -(-len(views) // size) * params["epochs"]
    scale = 1 / size
    if not single:
        scale = (1 / size if params["multi_label_loss"] == "mean" else 1) / classes
    for step, rows in enumerate(batches(views, size, steps, seed)):
        logits = x[rows] @ weight.T + bias
        share = softmax(logits, axis=1) if single and outputs > 1 else expit(logits)
        # What is not known has no gradient.
        gradient = np.nan_to_num(share - target[rows]) * scale
        factor = (1 + np.cos(np.pi * step / steps)) / 2
        velocity = params["momentum"] * velocity + gradient.T @ x[rows]
        bias_velocity = params["momentum"] * bias_velocity + gradient.sum(axis=0)
        weight = weight - rate * factor * velocity
        bias = bias - rate * factor * bias_velocity
    return weight, bias


def logreg(x, truth, single, c):
    """Weight [O, F] and bias at the minimum of the cross entropies' sum plus |W|^2 / (2 C)."""
    classes = truth.shape[1]
    if not single:
        fits = [sigmoid_fit(x, truth[:, k], c) for k in range(classes)]
        return np.stack([w for w, _ in fits]), np.array([b for _, b in fits])
    present = [k for k in range(classes) if truth[:, k].any()]
    if len(present) == 2:
        weight, bias = sigmoid_fit(x, truth[:, present[1]], c)
        if classes == 2:
            return weight[None], np.array([bias])
        whole, biases = np.zeros((classes, len(weight))), np.full(classes, -np.inf)
        for k, factor in zip(present, (-0.5, 0.5)):
            whole[k], biases[k] = factor * weight, factor * bias
        return whole, biases
    weight, bias = softmax_fit(x, truth[:, present].argmax(axis=1), len(present), c)
    whole, biases = np.zeros((classes, x.shape[1])), np.full(classes, -np.inf)
    whole[present], biases[present] = weight, bias
    return whole, biases


def ridge(x, truth, single, alpha):
    """Weight [O, F] and bias of ridge regressions on 1 for examples of a class and -1 for others."""
    columns = truth.T[1:] if single and truth.shape[1] == 2 else truth.T
    fits = [ridge_fit(x, 2 * column - 1, alpha) for column in columns]
    return np.stack([w for w, _ in fits]), np.array([b for _, b in fits])


def ridge_fit(x, y, alpha):
    """Least squares of the centred examples and of a row sqrt(alpha) for each weight."""
    known = ~np.isnan(y)
    x, y = x[known], y[known]
    if not len(y):
        return np.zeros(x.shape[1]), 0.0
    wide = np.vstack([x - x.mean(axis=0), np.sqrt(alpha) * np.eye(x.shape[1])])
    w = np.linalg.lstsq(wide, np.append(y - y.mean(), np.zeros(x.shape[1])), rcond=None)[0]
    return w, y.mean() - x.mean(axis=0) @ w


def decisions(logits, single):
    """Of two exclusive classes, the first's is the second's with the other sign."""
    return np.hstack([-logits, logits]) if single and logits.shape[1] == 1 else logits


def sigmoid_fit(x, y, c):
    known = ~np.isnan(y)
    x, y = x[known], y[known]
    if len(set(y)) < 2:
        return np.zeros(x.shape[1]), {(): 0.0, (1.0,): np.inf, (0.0,): -np.inf}[tuple(set(y))]
    sign = 2 * y - 1

    def value(w):
        margin = sign * (x @ w[:-1] + w[-1])
        slope = -sign * expit(-margin)
        loss = -log_expit(margin).sum() + w[:-1] @ w[:-1] / (2 * c)
        return loss, np.append(x.T @ slope + w[:-1] / c, slope.sum())

    def curved(w, direction):
        z = x @ w[:-1] + w[-1]
        change = expit(z) * expit(-z) * (x @ direction[:-1] + direction[-1])
        return np.append(x.T @ change + direction[:-1] / c, change.sum())

    w = newton(value, curved, x.shape[1] + 1)
    return w[:-1], w[-1]


def softmax_fit(x, y, classes, c):
    shape = (classes, x.shape[1] + 1)
    wide = np.hstack([x, np.ones((len(x), 1))])
    own = np.eye(classes)[y]

    def value(w):
        w = w.reshape(shape)
        log_p = log_softmax(wide @ w.T, axis=1)
        gradient = (np.exp(log_p) - own).T @ wide
        gradient[:, :-1] += w[:, :-1] / c
        return -(log_p * own).sum() + (w[:, :-1] ** 2).sum() / (2 * c), gradient.ravel()

    def curved(w, direction):
        p = softmax(wide @ w.reshape(shape).T, axis=1)
        direction = direction.reshape(shape)
        change = wide @ direction.T
        change = p * (change - (p * change).sum(axis=1, keepdims=True))
        product = change.T @ wide
        product[:, :-1] += direction[:, :-1] / c
        return product.ravel()

    w = newton(value, curved, shape[0] * shape[1]).reshape(shape)
    return w[:, :-1], w[:, -1]


def newton(value, curved, size):
    """Newton's method with the whole second derivative; steps are halved until the loss falls enough."""
    w = np.zeros(size)
    for _ in range(300):
        loss, gradient = value(w)
        hessian = np.stack([curved(w, unit) for unit in np.eye(size)])
        step = np.linalg.lstsq(hessian, gradient, rcond=1e-14)[0]
        decrement = gradient @ step
        if decrement < 1e-14 * loss:
            return w
        length = 1.0
        while value(w - length * step)[0] > loss - 1e-4 * length * decrement and length > 1e-9:
            length /= 2
        w = w - length * step
    raise ValueError("no minimum")
