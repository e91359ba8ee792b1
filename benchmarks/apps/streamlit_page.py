"""The page with Streamlit, which runs this from top to bottom for each click."""

from __future__ import annotations

import streamlit as st  # in an environment of its own

st.session_state.setdefault("number", 0)
st.title("A counter")
if st.button("+1"):
    st.session_state.number += 1
st.markdown(f'<b class="number">{st.session_state.number}</b>', unsafe_allow_html=True)
