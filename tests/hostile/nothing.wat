;; An empty component. | refused: exports nothing
(component)
