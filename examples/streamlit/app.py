import streamlit as st

st.title("Behind the gateway")
name = st.text_input("Your name")
if name:
    st.write(f"Hello, {name}")
